"""An app whose runs are completed from outside: a test finds their tokens in files, one line for each execution that has handed one out."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from stream_engine import Concurrency, Context, Engine, Retry, SyncContext, Timeouts

GATES = Path(os.environ["BEHAVIOURS_GATES"])

engine = Engine(os.environ["BEHAVIOURS_APP"])
_quick = Retry(2, backoff="constant", base="20ms", jitter=False)


async def pass_gate(name: str) -> str:
    """Wait until somebody opens a gate."""
    (GATES / f"{name}.reached").touch()
    while not (GATES / name).exists():  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(0.02)
    return name


def pass_gate_in_thread(name: str) -> str:
    """Do the same where nothing can interrupt it."""
    (GATES / f"{name}.reached").touch()
    while not (GATES / name).exists():
        time.sleep(0.02)
    return name


def note(name: str, token: str) -> None:
    """Hand out a token."""
    with (GATES / f"{name}.tokens").open("a") as file:
        file.write(f"{token}\n")


@engine.function("approve", on="approve")
async def approve(ctx: Context) -> Any:
    """Wait for a completion."""
    name = ctx.event.data["name"]
    approval = ctx.step.callback("approve", timeout=ctx.event.data.get("timeout"))
    note(name, approval.token)
    await ctx.step.run("hand out", pass_gate, "open-to-all")
    answer = await approval
    for gate in ctx.event.data.get("then", []):
        await ctx.step.run(f"then {gate}", pass_gate, gate)
    return {"answer": answer}


@engine.function("approve-thread", on="approve-thread")
def approve_thread(ctx: SyncContext) -> Any:
    """Wait for two completions, in a thread."""
    name = ctx.event.data["name"]
    both = [ctx.step.callback("approve"), ctx.step.callback("approve")]
    for number, approval in enumerate(both):
        note(f"{name}-{number}", approval.token)
    return [approval.result() for approval in reversed(both)]


@engine.function("approve-later", on="approve-later")
async def approve_later(ctx: Context) -> Any:
    """Hand out a token, and await what completes it long after."""
    name = ctx.event.data["name"]
    approval = ctx.step.callback("approve")
    note(name, approval.token)
    await ctx.step.run("gate", pass_gate, ctx.event.data["gate"])
    return await approval


@engine.function("ask-many", on="ask-many")
async def ask_many(ctx: Context) -> int:
    """Invoke a function very often, side by side."""
    count = ctx.event.data["count"]
    answers = await asyncio.gather(*[ctx.step.invoke(f"ask-{n}", answer, data={"n": n}) for n in range(count)])
    assert answers == list(range(count))
    return sum(answers)


@engine.function("answer")
async def answer(ctx: Context) -> int:
    """Return what was asked."""
    return int(ctx.event.data["n"])


async def note_failure(ctx: Context, error: Exception) -> str:
    """Say what went wrong."""
    return f"noted: {error}"


@engine.function("hurry", on="hurry", timeouts=Timeouts(finish="2s"), on_failure=note_failure)
async def hurry(ctx: Context) -> str:
    """Take too long in a step."""
    return await ctx.step.run("gate", pass_gate, ctx.event.data["gate"])


@engine.function("plod", on="plod", timeouts=Timeouts(finish="2s"), on_failure=note_failure)
async def plod(ctx: Context) -> str:
    """Take too long in a step that nothing can interrupt."""
    return await ctx.step.run("gate", pass_gate_in_thread, ctx.event.data["gate"])


@engine.function("impatient", on="impatient", concurrency=Concurrency(1), timeouts=Timeouts(start="2s"))
async def impatient(ctx: Context) -> str:
    """Wait for a slot, but not for long."""
    return await ctx.step.run("gate", pass_gate, ctx.event.data["gate"])


@engine.function("hurry-step", on="hurry-step", retries=_quick)
async def hurry_step(ctx: Context) -> str:
    """Have a step that takes too long."""
    return await ctx.step.options(timeout="500ms", retries=0).run("gate", pass_gate, ctx.event.data["gate"])
