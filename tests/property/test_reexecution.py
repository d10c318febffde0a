"""A run that is executed again goes the way it went, whatever order its steps came to an end in.

A random program of steps, in sequences and side by side, is executed while a script ends its steps in random order and
random groups. Then it is executed again with all, or with some, of the outcomes recorded.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine import Context, Engine, current_step
from stream_engine.core.partition.turn import Release
from stream_engine.sdk.execution import Executor
from tests.scripted import RUN, ScriptedTerm, settle

Node = tuple[str, Any]
Do = Callable[[Context, Any, list[Any]], Awaitable[Any]]

LEAVES = st.one_of(
    st.tuples(st.just("step"), st.sampled_from("abc")),
    st.tuples(st.just("sleep"), st.sampled_from("ab")),
)
PROGRAMS = st.recursive(
    LEAVES,
    lambda inner: st.tuples(
        st.sampled_from(["sequence", "gather", "group", "first", "completed", "shielded"]),
        st.lists(inner, min_size=1, max_size=4),
    ),
    max_leaves=12,
)


async def body() -> str:
    return current_step().id


async def step(ctx: Context, id: str, trace: list[Any]) -> Any:
    trace.append(f"ask {id}")
    value = await ctx.step.run(id, body)
    trace.append(f"step {value}")
    return value


async def sleep(ctx: Context, id: str, trace: list[Any]) -> None:
    await ctx.step.sleep(id, "1h")
    trace.append(f"slept {id}")


async def sequence(ctx: Context, nodes: list[Node], trace: list[Any]) -> list[Any]:
    return [await do(ctx, node, trace) for node in nodes]


async def gather(ctx: Context, nodes: list[Node], trace: list[Any]) -> list[Any]:
    return list(await asyncio.gather(*(do(ctx, node, trace) for node in nodes)))


async def group(ctx: Context, nodes: list[Node], trace: list[Any]) -> list[Any]:
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(do(ctx, node, trace)) for node in nodes]
    return [task.result() for task in made]


async def first(ctx: Context, nodes: list[Node], trace: list[Any]) -> list[Any]:
    """Take what is there when the first is, and leave the others."""
    tasks = [asyncio.create_task(do(ctx, node, trace)) for node in nodes]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    trace.append([tasks.index(task) for task in tasks if task in done])
    for task in pending:
        task.cancel()
    return [task.result() for task in tasks if task in done]


async def completed(ctx: Context, nodes: list[Node], trace: list[Any]) -> list[Any]:
    # Tasks, because `as_completed` puts coroutines into a set, and so starts them in no particular order.
    tasks = [asyncio.create_task(do(ctx, node, trace)) for node in nodes]
    return [await task for task in asyncio.as_completed(tasks)]


async def shielded(ctx: Context, nodes: list[Node], trace: list[Any]) -> list[Any]:
    """A long chain from the step to the one who waits: each link takes a turn of the event loop."""
    gathered = asyncio.gather(*(do(ctx, node, trace) for node in nodes))
    return list(await asyncio.wait_for(asyncio.shield(asyncio.gather(asyncio.shield(gathered))), 60))


KINDS: dict[str, Do] = {
    "step": step,
    "sleep": sleep,
    "sequence": sequence,
    "gather": gather,
    "group": group,
    "first": first,
    "completed": completed,
    "shielded": shielded,
}


async def do(ctx: Context, node: Node, trace: list[Any]) -> Any:
    kind, what = node
    return await KINDS[kind](ctx, what, trace)


def app(program: Node, seen: list[Any]) -> Engine:
    """Return an app that notes what happens until the run ends: what it has left by then is ended in no order."""
    engine = Engine("app")

    @engine.function("f")
    async def f(ctx: Context) -> Any:
        trace: list[Any] = []
        value = await do(ctx, program, trace)
        seen.extend(trace)
        return value

    return engine


async def live(program: Node, data: st.DataObject) -> tuple[ScriptedTerm, list[Any]]:
    trace: list[Any] = []
    async with Executor(app(program, trace)) as executor:
        term = ScriptedTerm(executor)
        term.execute("f")
        await settle()
        while term.result is None:
            waiting = list(term.waiting())
            assert waiting, "nothing is left to happen, and the run has not ended"
            some = data.draw(st.lists(st.sampled_from(waiting), min_size=1, unique=True), label="outcomes")
            term.answer(*some)
            await settle()
        executor.perform(term, [Release(RUN)])
        return term, trace


async def again(program: Node, before: ScriptedTerm, recorded: int) -> tuple[ScriptedTerm, list[Any]]:
    """Execute with the first outcomes recorded; the others come in the order in which they came before."""
    trace: list[Any] = []
    async with Executor(app(program, trace)) as executor:
        term = ScriptedTerm(executor)
        term.order = before.order[:recorded]
        term.execute("f", dict(reversed(term.order)))
        await settle()
        for id, _ in before.order[recorded:]:
            if id in term.waiting():
                term.answer(id)
                await settle()
        executor.perform(term, [Release(RUN)])
        return term, trace


@settings(max_examples=150, deadline=None)
@given(PROGRAMS, st.data())
def test_all_outcomes_recorded(program: Node, data: st.DataObject) -> None:
    before, trace = asyncio.run(live(program, data))
    after, trace_again = asyncio.run(again(program, before, len(before.order)))
    assert after.result == before.result
    assert trace_again == trace


@settings(max_examples=150, deadline=None)
@given(PROGRAMS, st.data())
def test_some_outcomes_recorded(program: Node, data: st.DataObject) -> None:
    before, trace = asyncio.run(live(program, data))
    recorded = data.draw(st.integers(0, len(before.order)), label="recorded")
    after, trace_again = asyncio.run(again(program, before, recorded))
    assert after.result == before.result
    assert trace_again == trace
