"""An app with a function for each behaviour that is tested on a real broker."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stream_engine import (
    Batch,
    CancelOn,
    Context,
    Debounce,
    Engine,
    Event,
    NonRetriableError,
    Retry,
    RetryAfterError,
    StepError,
    SyncContext,
    current_step,
)

GATES = Path(os.environ["BEHAVIOURS_GATES"])
"""A folder: what waits there for a file goes on once the file exists."""


class Order(BaseModel):
    """An order that can be refused."""

    order_id: str
    amount: int


class Around:
    """Middleware that leaves its mark on runs, steps and sends."""

    async def around_run(self, ctx: Context, call: Callable[[], Awaitable[Any]]) -> Any:
        """Mark the result of runs that ask for it."""
        result = await call()
        return f"run({result})" if result == "step(plain)" else result

    async def around_step(self, ctx: Context, step: Any, call: Callable[[], Awaitable[Any]]) -> Any:
        """Mark the result of steps that ask for it."""
        result = await call()
        return f"step({result})" if step.id == "marked" else result

    async def around_send(self, events: list[Event[Any]], call: Callable[[], Awaitable[list[str]]]) -> list[str]:
        """Mark events that ask for it."""
        for event in events:
            if event.name == "sent/here" and "marked" in event.data:
                event.data["marked"] = True
        return await call()


async def lifespan(engine: Engine) -> Any:
    """What all runs of a worker share."""
    yield {"opened by": engine.name}


engine = Engine(os.environ["BEHAVIOURS_APP"], lifespan=lifespan, middleware=[Around])
engine.event("order/checked", Order, key="data.order_id")
_quick = Retry(2, backoff="constant", base="20ms", jitter=False)


async def gate(name: str) -> str:
    """Wait until somebody opens a gate."""
    (GATES / f"{name}.reached").touch()
    while not (GATES / name).exists():  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(0.02)
    return name


async def echo(value: Any) -> Any:
    """Return what it is given."""
    return value


def failing(failures: int, error: type[Exception] = OSError) -> str:
    """Fail a number of times."""
    attempt = current_step().attempt
    if attempt < failures:
        raise error(f"attempt {attempt}")
    return f"attempt {attempt}"


@engine.function("greet", on=["greet", "hello/*"])
async def greet(ctx: Context) -> dict[str, Any]:
    """Say what event this is."""
    event = ctx.event
    return {"name": event.name, "id": event.id, "key": event.key, "data": event.data, "attempt": ctx.attempt}


@engine.function("check", on="order/checked")
async def check(ctx: Context[Order]) -> int:
    """Take an order as a model."""
    return ctx.event.data.amount


@engine.function("check-too", on="order/checked")
def check_too(ctx: SyncContext[Order]) -> str:
    """Take the same order, in a thread."""
    return ctx.event.data.order_id


@engine.function("send")
async def send(ctx: Context) -> list[str]:
    """Send an event, which `receive` takes."""
    return await ctx.step.send_event("tell", Event("sent/here", {"of": ctx.run_id, "marked": False}, key="the key"))


@engine.function("receive", on="sent/here")
async def receive(ctx: Context) -> Any:
    """Take what `send` sends."""
    return ctx.event.data


@engine.function("produce", retries=_quick)
async def produce(ctx: Context) -> None:
    """Produce messages to another topic."""
    topic = ctx.event.data["topic"]
    await ctx.step.produce("first", topic, key="k", value={"a": 1}, headers={"h": "v"})
    await ctx.step.produce("second", topic, key="k", value=None)


@engine.function("stumble", retries=_quick)
async def stumble(ctx: Context) -> str:
    """Fail twice, and get there."""
    return await ctx.step.run("stumble", failing, 2)


@engine.function("catch", retries=_quick)
async def catch(ctx: Context) -> list[str]:
    """Catch the failure of a step."""
    try:
        await ctx.step.run("doomed", failing, 99, ValueError)
    except StepError as error:
        return [error.type, error.message, await ctx.step.run("then", echo, "on we go")]
    return []


async def mourn(ctx: Context, error: Exception) -> list[str]:
    """Handle a failure, with a step."""
    return [str(error), await ctx.step.run("mourn", echo, ctx.run_id)]


@engine.function("doom", retries=_quick, on_failure=mourn)
async def doom(ctx: Context) -> None:
    """Fail for good by a step."""
    await ctx.step.run("doomed", failing, 99)


@engine.function("insist", retries=_quick)
async def insist(ctx: Context) -> int:
    """Fail outside of steps, and be executed again."""
    await ctx.step.run("once", echo, ctx.attempt)
    if ctx.attempt < 2:
        raise OSError("again")
    return await ctx.step.run("last", echo, ctx.attempt)


@engine.function("hopeless")
async def hopeless(ctx: Context) -> None:
    """Fail at once."""
    await ctx.step.run("doomed", failing, 99, NonRetriableError)


def later() -> str:
    """Say when to try again."""
    if current_step().attempt == 0:
        raise RetryAfterError("not now", "300ms")
    return "now"


@engine.function("patient")
async def patient(ctx: Context) -> str:
    """Be tried again when it says."""
    return await ctx.step.run("later", later)


@engine.function("bulky", retries=_quick)
async def bulky(ctx: Context) -> str:
    """Return more from a step than can be recorded."""
    try:
        await ctx.step.run("bulk", echo, "x" * 600_000)
    except StepError as error:
        return str(error)
    return "it was taken"


@engine.function("hasty")
async def hasty(ctx: Context) -> str:
    """Give a step no time."""
    try:
        await ctx.step.options(timeout="50ms", retries=0).run("slow", gate, "never")
    except StepError as error:
        return str(error)
    return "it was quick"


@engine.function("sleepy")
async def sleepy(ctx: Context) -> str:
    """Sleep between two steps."""
    before = await ctx.step.run("before", echo, "a")
    await ctx.step.sleep("nap", "200ms")
    last: str = before + await ctx.step.run("after", echo, "b")
    return last


@engine.function("sleepy-thread")
def sleepy_thread(ctx: SyncContext) -> str:
    """Sleep between two steps, without keeping the thread."""
    before = ctx.step.run("before", time.strftime, "a")
    ctx.step.sleep("nap", "200ms")
    return before + ctx.step.run("after", time.strftime, "b")


@engine.function("marked")
async def marked(ctx: Context) -> Any:
    """Show what middleware does."""
    return await ctx.step.run("marked", echo, "plain")


@engine.function("shared")
async def shared(ctx: Context) -> Any:
    """Show what the lifespan made."""
    return ctx.app


@engine.function("wait", on="wait")
async def wait(ctx: Context) -> str:
    """Wait for a gate."""
    return await ctx.step.run("gate", gate, ctx.event.data["gate"])


@engine.function("nap", on="nap")
async def nap(ctx: Context) -> int:
    """Sleep with large results behind it."""
    data = ctx.event.data
    results = [await ctx.step.run(step, echo, data["bulk"]) for step in ("a", "b", "c")]
    await ctx.step.sleep("nap", data["for"])
    return sum(map(len, results))


async def undo(ctx: Context) -> str:
    """Handle that a run was cancelled, with a step."""
    return await ctx.step.run("undo", echo, f"undone {ctx.event.data['gate']}")


@engine.function("undoable", on="undoable", on_cancel=undo)
async def undoable(ctx: Context) -> None:
    """Do something, and wait for a gate; then sleep for a day."""
    await ctx.step.run("gate", gate, ctx.event.data["gate"])
    await ctx.step.sleep("day", "1d")


@engine.function("child")
async def child(ctx: Context) -> str:
    """Wait for a gate, for whoever calls."""
    return await ctx.step.run("gate", gate, ctx.event.data["gate"])


@engine.function("parent", on="parent")
async def parent(ctx: Context) -> list[str]:
    """Call functions, each by its name, and return what they return."""
    data = ctx.event.data
    calls = (ctx.step.invoke("call", function, {"gate": data["gate"]}) for function in data["of"])
    return [*await asyncio.gather(*calls), await ctx.step.run("last", echo, "over")]


@engine.function("parent-thread", on="parent")
def parent_thread(ctx: SyncContext) -> list[str]:
    """The same, in a thread, one after the other."""
    data = ctx.event.data
    return [ctx.step.invoke("call", function, {"gate": data["gate"]}) for function in data["of"]]


@engine.function("block")
async def block(ctx: Context) -> None:
    """Block the event loop until a gate is open, as nobody should."""
    name = ctx.event.data["gate"]
    while not (GATES / name).exists():
        time.sleep(0.02)  # noqa: ASYNC251 - what it is about


async def after(first: str, value: str) -> str:
    """Return a value, the later the more gates have to open."""
    await gate(first)
    return value


@engine.function("race", on="race")
async def race(ctx: Context) -> list[str]:
    """Go by which of two steps comes first, then wait, and say which it was."""
    of = ctx.event.data["gate"]
    steps = [
        asyncio.ensure_future(ctx.step.run("left", after, f"{of}-left", "left")),
        asyncio.ensure_future(ctx.step.run("right", after, f"{of}-right", "right")),
    ]
    done, _ = await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
    first = next(iter(done)).result()
    chosen = await ctx.step.run(f"chose-{first}", echo, first)
    await asyncio.gather(*steps)
    await ctx.step.run("gate", gate, of)
    return [chosen, first]


@engine.function("together", batch=Batch(4, timeout="1h"), cancel_on=CancelOn("lost", match="data.i"))
async def together(ctx: Context) -> list[int]:
    """Four at a time."""
    return [event.data["i"] for event in ctx.events]


@engine.function("kept", debounce=Debounce("2s", keep="all"))
async def kept(ctx: Context) -> list[int]:
    """All that has come until it is quiet."""
    return [event.data["i"] for event in ctx.events]
