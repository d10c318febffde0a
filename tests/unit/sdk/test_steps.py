"""Steps: what is recorded, what is returned, what is tried again, in functions of both kinds."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from stream_engine import (
    Context,
    Engine,
    Function,
    NonRetriableError,
    Retry,
    RetryAfterError,
    RunFailed,
    StepError,
    SyncContext,
    current_step,
    testing,
)
from stream_engine.core.routing.receive import MAX_BYTES
from stream_engine.testing import Harness, Run


class Order(BaseModel):
    id: int
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


async def load(id: int) -> Order:
    return Order(id=id)


def load_in_thread(id: int) -> Order:
    assert threading.current_thread() is not threading.main_thread()
    return Order(id=id)


def function(body: Any, **options: Any) -> Function[..., Any]:
    return Engine("app").function("f", **options)(body)


def outcome(body: Any, data: Any = None, **options: Any) -> Run:
    """Run a function until its end; return the run, whichever way it ended."""

    async def script() -> Run:
        tested = function(body, **options)
        assert isinstance(tested.app, Engine)
        async with Harness(tested.app) as harness:
            await tested.start(data)
            await harness.advance()
            return harness.runs("f")[0]

    return asyncio.run(script())


def returned(body: Any, data: Any = None, **options: Any) -> Any:
    return asyncio.run(testing.run(function(body, **options), data))


def failing(*errors: BaseException) -> Callable[[], int]:
    """Return a function that raises these errors, one a call, and then returns the number of calls."""
    left = list(errors)
    calls = 0

    def attempt() -> int:
        nonlocal calls
        calls += 1
        if left:
            raise left.pop(0)
        return calls

    return attempt


def test_results_are_what_the_annotation_says_live_and_later() -> None:
    async def f(ctx: Context) -> list[Any]:
        before = [await ctx.step.run("a", load, 1), await ctx.step.run("b", load_in_thread, id=2)]
        await ctx.step.sleep("pause", "1h")
        assert before == [Order(id=1), Order(id=2)]
        return [order.id for order in before]

    assert returned(f) == [1, 2]


def test_def_functions_have_the_same_steps() -> None:
    executions = []

    def f(ctx: SyncContext) -> list[Any]:
        executions.append(threading.current_thread())
        before = [ctx.step.run("a", load, 1).id, ctx.step.run("b", load_in_thread, id=2).id]
        ctx.step.sleep("pause", timedelta(hours=1))
        ctx.step.sleep_until("again", datetime.now(UTC) + timedelta(days=1))
        return [*before, ctx.step.run("c", lambda: 3)]

    assert returned(f) == [1, 2, 3]
    assert len(executions) == 3
    assert threading.main_thread() not in executions


def test_a_lambda_may_return_a_coroutine() -> None:
    async def f(ctx: Context) -> Any:
        return await ctx.step.run("a", lambda: load(4))

    assert returned(f)["id"] == 4


def test_the_same_id_again_is_numbered() -> None:
    async def f(ctx: Context) -> list[str]:
        async def name() -> str:
            return current_step().id

        return [await ctx.step.run("a", name) for _ in range(3)]

    assert returned(f) == ["a", "a:1", "a:2"]


def test_a_step_knows_itself_in_its_thread_too() -> None:
    keys: list[str] = []

    def body() -> None:
        step = current_step()
        keys.append(step.idempotency_key)
        assert (step.id, step.attempt) == ("a", len(keys) - 1)
        if len(keys) == 1:
            raise OSError("once")

    async def f(ctx: Context) -> None:
        await ctx.step.run("a", body)

    returned(f)
    assert len(set(keys)) == 1


def test_a_step_is_tried_again_and_its_attempts_are_told() -> None:
    attempt = failing(OSError("1"), OSError("2"))

    async def f(ctx: Context) -> int:
        return await ctx.step.run("a", attempt)

    run = outcome(f)
    assert (run.status, run.result, run.step("a").attempt) == ("completed", 3, 2)


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_step_out_of_retries_raises_the_same_error_live_and_later(kind: str) -> None:
    seen: list[StepError] = []
    attempt = failing(*[ValueError("no funds")] * 3)

    async def f(ctx: Context) -> str:
        try:
            await ctx.step.run("a", attempt)
        except StepError as error:
            seen.append(error)
        await ctx.step.sleep("pause", 60)
        return "went on"

    def g(ctx: SyncContext) -> str:
        try:
            ctx.step.run("a", attempt)
        except StepError as error:
            seen.append(error)
        ctx.step.sleep("pause", 60)
        return "went on"

    assert returned(f if kind == "async" else g, retries=2) == "went on"
    live, later = seen[0], seen[-1]
    assert len(seen) == 2
    assert (live.type, live.message, str(live)) == ("ValueError", "no funds", "ValueError: no funds")
    assert live.traceback == later.traceback
    assert "in attempt" in live.traceback
    assert "stream_engine/sdk" not in live.traceback


def test_an_uncaught_step_error_fails_the_run_at_once() -> None:
    async def f(ctx: Context) -> None:
        await ctx.step.options(retries=0).run("a", failing(ValueError("no funds")))

    run = outcome(f, retries=4)
    assert (run.status, run.attempt) == ("failed", 0)
    assert run.error is not None
    assert (run.error.type, run.error.message) == ("ValueError", "no funds")


def test_an_uncaught_step_error_in_a_task_group_does_too() -> None:
    async def f(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step.options(retries=0).run("a", failing(ValueError("no funds"))))
            group.create_task(ctx.step.sleep("b", "1h"))

    run = outcome(f, retries=4)
    assert (run.status, run.attempt) == ("failed", 0)
    assert run.error is not None
    assert run.error.type == "ValueError"


def test_non_retriable_ends_a_step_and_retry_after_delays_it() -> None:
    never, later = failing(NonRetriableError("never")), failing(RetryAfterError("busy", "3d"))

    async def f(ctx: Context) -> None:
        with pytest.raises(StepError, match="NonRetriableError: never"):
            await ctx.step.run("a", never)
        await ctx.step.run("b", later)

    run = outcome(f)
    assert run.step("a").attempt == 0
    assert run.started_at is not None
    assert run.ended_at is not None
    assert run.ended_at - run.started_at == timedelta(days=3)


def test_the_body_outside_of_steps_is_tried_again_without_its_steps() -> None:
    calls: list[str] = []
    attempts: list[int] = []
    fail = failing(OSError("1"), OSError("2"))

    async def note(what: str) -> None:
        calls.append(what)

    async def f(ctx: Context) -> int:
        attempts.append(ctx.attempt)
        await ctx.step.run("a", note, "a")
        return fail()

    run = outcome(f, retries=Retry(2, base="1m", jitter=False))
    assert (run.status, run.attempt, calls, attempts) == ("completed", 2, ["a"], [0, 1, 2])
    assert run.started_at is not None
    assert run.ended_at is not None
    assert run.ended_at - run.started_at == timedelta(minutes=3)


ENDS_PROGRAMS = [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError(), GeneratorExit()]


@pytest.mark.parametrize("error", ENDS_PROGRAMS, ids=repr)
def test_what_ends_programs_fails_a_run_and_not_the_worker(error: BaseException) -> None:
    async def in_body(ctx: Context) -> None:
        raise error

    async def in_task(ctx: Context) -> None:
        async def task() -> None:
            raise error

        await asyncio.create_task(task())

    def in_thread(ctx: SyncContext) -> None:
        raise error

    for body in (in_body, in_task, in_thread):
        assert outcome(body, retries=0).status == "failed"


@pytest.mark.parametrize("error", ENDS_PROGRAMS, ids=repr)
def test_what_ends_programs_fails_a_step_like_anything_else(error: BaseException) -> None:
    async def end() -> None:
        raise error

    async def f(ctx: Context) -> list[Any]:
        steps = [ctx.step.run("coroutine", end), ctx.step.run("thread", failing(error, error))]
        timed = ctx.step.options(timeout="1m").run("timed", end)
        outcomes = await asyncio.gather(*steps, timed, return_exceptions=True)
        try:
            await ctx.step.run("plain", end)
        except StepError as caught:
            outcomes.append(caught)
        return [[type(outcome).__name__, getattr(outcome, "type", None)] for outcome in outcomes]

    run = outcome(f, retries=1)
    assert run.result == [["StepError", type(error).__name__]] * 4
    assert [run.step(id).attempt for id in ("coroutine", "thread", "timed", "plain")] == [1] * 4


def test_stop_iteration_in_a_thread_is_a_failure() -> None:
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", lambda: next(iter([])))

    assert outcome(f, retries=0).status == "failed"


@pytest.mark.parametrize("body", [lambda: asyncio.sleep(60), lambda: threading.Event().wait(0.3)])
def test_a_step_that_takes_too_long_fails_and_is_tried_again(body: Any) -> None:
    async def f(ctx: Context) -> None:
        await ctx.step.options(timeout="20ms", retries=1).run("a", body)

    run = outcome(f)
    assert run.error is not None
    assert (run.error.type, run.error.message) == ("TimeoutError", "step 'a' took longer than 0.02 s")
    assert run.step("a").attempt == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            object(),
            "step 'a' of function 'f' returned something that cannot be recorded: object cannot be written as JSON",
        ),
        (
            float("nan"),
            "step 'a' of function 'f' returned something that cannot be recorded: float cannot be written as JSON: NaN or",
        ),
        ("x" * MAX_BYTES, r"step 'a' of function 'f' returned 524,290 bytes of JSON; the limit is 524,288"),
    ],
)
def test_a_result_that_cannot_be_recorded_fails_its_step_for_good(value: Any, message: str) -> None:
    async def f(ctx: Context) -> str:
        with pytest.raises(StepError, match=message):
            await ctx.step.run("a", lambda: value)
        return "went on"

    run = outcome(f)
    assert (run.result, run.step("a").attempt) == ("went on", 0)


def test_a_result_of_the_function_that_cannot_be_recorded_fails_the_run() -> None:
    async def f(ctx: Context) -> Any:
        return object()

    with pytest.raises(RunFailed, match="function 'f' returned something that cannot be recorded"):
        returned(f)


def test_a_result_that_contradicts_its_annotation_fails_its_step() -> None:
    def lie() -> int:
        return "text"  # type: ignore[return-value] # what the test is about

    async def f(ctx: Context) -> None:
        await ctx.step.run("a", lie)

    with pytest.raises(RunFailed, match="step 'a' returned what its function's annotation does not say"):
        returned(f)


def test_none_is_none_whatever_the_annotation_says() -> None:
    def forgot() -> int:
        return None  # type: ignore[return-value] # what the test is about

    async def f(ctx: Context) -> Any:
        first = await ctx.step.run("a", forgot)
        await ctx.step.sleep("b", 1)
        return first

    assert returned(f) is None


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda ctx: ctx.step.run("", load, 1), "a step's id is text of 1 to 256 printable characters"),
        (lambda ctx: ctx.step.run("a\0b", load, 1), "a step's id is text of 1 to 256 printable characters"),
        (lambda ctx: ctx.step.run(3, load, 1), "step 3: a step's id is text"),
        (lambda ctx: ctx.step.sleep("a", "soon"), "step 'a': 'soon' is not a duration"),
        (lambda ctx: ctx.step.sleep_until("a", datetime(2026, 1, 1)), "step 'a': .* has no time zone"),  # noqa: DTZ001 - it is what the test is about
        (lambda ctx: ctx.step.sleep_until("a", "tomorrow"), "step 'a': "),
        (
            lambda ctx: ctx.step.sleep("a", "4000000d"),
            r"step 'a': .* beyond 9999-12-31T23:59:59.999Z, .* '2\d{6}d' is the",
        ),
        (
            lambda ctx: ctx.step.sleep_until("a", datetime.max.replace(tzinfo=UTC)),
            r"step 'a': .* beyond 9999-12-31T23:59",
        ),
        (lambda ctx: ctx.step.options(timeout="soon"), "'soon' is not a duration"),
        (lambda ctx: ctx.step.options(retries=99), "step.options: retries=99: give a whole number from 0 to 20"),
        (lambda ctx: ctx.step.run("a", lambda: ctx.step.run("b", load, 1)), "asked for inside another step's body"),
    ],
)
def test_wrong_use_of_steps_fails_the_run_at_once(misuse: Callable[[Context], Any], message: str) -> None:
    async def f(ctx: Context) -> None:
        await misuse(ctx)

    with pytest.raises(RunFailed, match=message):
        returned(f)


def test_a_sleep_may_last_until_the_year_9999() -> None:
    async def f(ctx: Context) -> str:
        await ctx.step.sleep("a", "2900000d")
        await ctx.step.sleep_until("b", datetime(9999, 12, 31, tzinfo=UTC))
        return "awake"

    assert returned(f) == "awake"


def test_current_step_outside_of_steps_is_an_error() -> None:
    async def f(ctx: Context) -> None:
        current_step()

    with pytest.raises(RunFailed, match=r"current_step\(\) only means something inside a step's body"):
        returned(f)
