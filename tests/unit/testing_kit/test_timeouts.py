"""Runs that wait for too long before they begin, or take too long, time out; and that is a failure."""

import threading
from typing import Any

import pytest

from stream_engine import (
    Context,
    DeclarationError,
    Engine,
    Event,
    Retry,
    RunFailed,
    SyncContext,
    Timeouts,
    current_step,
    function,
)
from stream_engine.testing import Kit


def app(finish: str, calls: list[str]) -> Engine:
    """An app whose functions take an hour each, in their ways."""
    engine = Engine("shop")

    async def handle(ctx: Context, error: RunFailed) -> None:
        await ctx.step.run("note", calls.append, f"{error.type} {error.message}")

    async def undo(ctx: Context) -> None:
        calls.append("never")

    options: dict[str, Any] = {"on_failure": handle, "on_cancel": undo, "timeouts": Timeouts(finish=finish)}

    @engine.function("sleeps", on="go", **options)
    async def sleeps(ctx: Context) -> None:
        await ctx.step.sleep("an hour", "1h")

    @engine.function("retries", on="go", retries=20, **options)
    async def retries(ctx: Context) -> None:
        raise OSError("again")

    @engine.function("thread", on="go", **options)
    def thread(ctx: SyncContext) -> None:
        ctx.step.sleep("an hour", "1h")

    return engine


def test_a_run_that_takes_too_long_has_failed(stream_engine: Kit) -> None:
    calls: list[str] = []
    stream_engine.use(app("10m", calls))
    stream_engine.send(Event("go"))
    stream_engine.advance("9m")
    assert [run.status for run in stream_engine.runs() if run.ended_at] == []
    stream_engine.advance("2m")
    assert {run.function: run.status for run in stream_engine.runs() if ":" not in run.function} == {
        "sleeps": "timed_out",
        "retries": "timed_out",
        "thread": "timed_out",
    }
    assert calls == ["TimeoutError it took longer than 600 s"] * 3


def test_a_run_that_ends_in_time_has_not(stream_engine: Kit) -> None:
    calls: list[str] = []
    stream_engine.use(app("2h", calls))
    stream_engine.send(Event("go"))
    stream_engine.advance("1d")
    [run] = stream_engine.runs("sleeps")
    assert run.status == "completed"


@pytest.mark.parametrize("value", [{}, {"start": "soon"}, {"finish": "0s"}, {"finish": "400d"}, {"start": -1}])
def test_what_is_no_timeout_is_an_error(value: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="Timeouts"):
        Timeouts(**value)
    with pytest.raises(DeclarationError, match=r"timeouts=.*give Timeouts"):
        function("f", timeouts="1h")  # type: ignore[arg-type] # that is the mistake


def test_attempts_of_a_def_step_may_overlap_and_have_one_key(stream_engine: Kit) -> None:
    engine = Engine("shop")
    second, first_ended = threading.Event(), threading.Event()
    keys: list[str] = []

    def work() -> str:
        keys.append(current_step().idempotency_key)
        if len(keys) == 1:
            assert second.wait(30)
            first_ended.set()
            return "dropped"
        # The first attempt is still there.
        assert not first_ended.is_set()
        second.set()
        assert first_ended.wait(30)
        return "used"

    @engine.function("works", on="works")
    async def works(ctx: Context) -> str:
        return await ctx.step.options(timeout="2s", retries=Retry(1, base="1ms")).run("work", work)

    stream_engine.use(engine)
    stream_engine.send(Event("works", {}))
    stream_engine.advance("1h")
    [run] = stream_engine.runs("works")
    assert (run.status, run.result) == ("completed", "used")
    assert len(keys) == 2
    assert len(set(keys)) == 1
