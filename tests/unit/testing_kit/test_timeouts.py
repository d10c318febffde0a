"""Runs that wait for too long before they begin, or take too long, time out; and that is a failure."""

from typing import Any

import pytest

from stream_engine import Context, DeclarationError, Engine, Event, RunFailed, SyncContext, Timeouts, function
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
