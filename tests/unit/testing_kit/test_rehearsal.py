"""Runs that were executed in memory, rehearsed with the same code and with other code."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from stream_engine import Context, Engine, Event, InvokeError, Retry, StepError, SyncContext
from stream_engine.core.records.history import EventDisposed, HistoryRecord
from stream_engine.core.records.journal import Event as EventRecord
from stream_engine.core.routing.callback_token import Named, token_of
from stream_engine.core.views.rehearsal import Past, SentEvent, past
from stream_engine.testing import Harness
from stream_engine.testing.rehearsal import Rehearsal, StandInError

Body = Callable[[Context], Coroutine[Any, Any, Any]]
SyncBody = Callable[[SyncContext], Any]

_CALLS: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls() -> Iterator[None]:
    _CALLS.clear()
    yield
    _CALLS.clear()


def _call(name: str) -> str:
    _CALLS.append(name)
    return name


def _fail(name: str) -> str:
    _CALLS.append(name)
    raise ValueError(name)


def _engine(body: Body | SyncBody, **more: Any) -> Engine:
    engine = Engine("shop", **more)
    engine.function("pay", on="order/placed", retries=Retry(1))(body)

    @engine.function("ask")
    async def ask(ctx: Context) -> int:
        if ctx.event.data.get("fail"):
            raise KeyError("lost")
        return 7

    return engine


@contextmanager
def _recording(harness: Harness) -> Iterator[list[tuple[str, HistoryRecord]]]:
    """Keep the records of history: the kit shows runs, and a rehearsal needs what they are made of."""
    index = harness._index
    records: list[tuple[str, HistoryRecord]] = []
    take = index.add

    def add(record_id: str, record: HistoryRecord) -> None:
        records.append((record_id, record))
        take(record_id, record)

    index.add = add  # type: ignore[method-assign] # the kit shows runs, and no records
    yield records


async def _past(engine: Engine, data: dict[str, Any]) -> Past:
    """Execute a run of ``pay``, and return what history has of it."""
    async with Harness(engine) as harness:
        with _recording(harness) as records:
            await harness.send(Event("order/placed", data))
            await harness.advance()
    told = [record for _, record in records if not isinstance(record, EventDisposed) and record.function == "pay"]
    found = past(told)
    assert found is not None
    return found


def _rehearsed(old: Engine, new: Engine, *, sent: SentEvent | None = None, lifespan: bool = False, **data: Any) -> str:
    """Return how a run differs with the new code; none of its steps' bodies may be called."""

    async def both() -> str:
        known = await _past(old, data)
        known = known if sent is None else replace(known, sent={"order-7": sent})
        called = len(_CALLS)
        async with Rehearsal(new, lifespan=lifespan, seconds=0.5) as rehearsal:
            first = await rehearsal.rehearse(known, _event(known, data))
            again = await rehearsal.rehearse(known, _event(known, data))
        assert len(_CALLS) == called
        assert first == again
        return str(first)

    return asyncio.run(both())


def _event(known: Past, data: dict[str, Any]) -> EventRecord:
    started = known.started
    raw = str(data).replace("'", '"').encode()
    return EventRecord(started.event_name, "at:t/0/0", started.event_id, 1, 1, started.topic, 0, 0, raw)


async def _pay(ctx: Context) -> Any:
    order = await ctx.step.run("load", _call, "load")
    await ctx.step.sleep("cool-down", "3h")
    a, b = await asyncio.gather(ctx.step.run("a", _call, "a"), ctx.step.run("b", _call, "b"))
    await ctx.step.send_event("tell", Event("order/paid", {"order": order}, id="order-7"))
    await ctx.step.produce("audit", "audit", value={"order": order})
    return [a, b, await ctx.step.invoke("ask", "ask")]


def test_the_same_code_goes_the_same_way() -> None:
    assert _rehearsed(_engine(_pay), _engine(_pay)) == "None"


def test_a_step_of_another_name_is_not_called() -> None:
    async def renamed(ctx: Context) -> Any:
        order = await ctx.step.run("load", _call, "load")
        return await ctx.step.run("charge", _call, order)

    assert _rehearsed(_engine(_pay), _engine(renamed)) == "new step charge (run): was cool-down (sleep)"


def test_what_a_step_would_send_is_compared_with_the_log() -> None:
    async def other(ctx: Context) -> Any:
        await ctx.step.run("load", _call, "load")
        await ctx.step.send_event("tell", Event("order/paid", {"order": "another"}, id="order-7"))

    sent = SentEvent("order-7", "order/paid", None, b'{"order":"load"}')
    assert _rehearsed(_engine(_pay), _engine(_pay), sent=sent) == "None"
    told = 'sent event tell: was order/paid {"order":"load"}, would be order/paid {"order":"another"}'
    assert _rehearsed(_engine(_pay), _engine(other), sent=sent) == told


def test_a_step_s_failure_is_answered_as_it_was() -> None:
    async def catching(ctx: Context) -> Any:
        try:
            await ctx.step.options(retries=0).run("charge", _fail, "declined")
        except StepError as error:
            return error.message

    async def not_catching(ctx: Context) -> Any:
        await ctx.step.options(retries=0).run("charge", _fail, "declined")

    assert _rehearsed(_engine(catching), _engine(catching)) == "None"
    told = "status: was completed, would be failed, ValueError: declined"
    assert _rehearsed(_engine(catching), _engine(not_catching)) == told


def test_why_an_invoke_has_no_result_is_known() -> None:
    async def asking(ctx: Context) -> Any:
        reasons = []
        for function, timeout in (("ask", None), ("nobody", None), ("app/other", None), ("slow", "1s")):
            try:
                await ctx.step.invoke(function, function, {"fail": True}, timeout=timeout)
            except InvokeError as error:
                reasons.append(error.reason)
        return reasons

    def engine() -> Engine:
        made = _engine(asking)

        @made.function("slow")
        async def slow(ctx: Context) -> None:
            await ctx.step.sleep("long", "1h")

        return made

    assert _rehearsed(engine(), engine()) == "None"


def test_a_body_that_fails_outside_of_steps_is_tried_again_in_no_time() -> None:
    async def second(ctx: Context) -> Any:
        await ctx.step.run("load", _call, "load")
        if not ctx.attempt:
            raise OSError("away")
        return ctx.attempt

    async def never(ctx: Context) -> Any:
        await ctx.step.run("load", _call, "load")
        raise OSError("away")

    assert _rehearsed(_engine(second), _engine(second)) == "None"
    assert _rehearsed(_engine(second), _engine(never)) == "status: was completed, would be failed, OSError: away"


def test_sync_functions_are_rehearsed_as_well() -> None:
    def old(ctx: SyncContext) -> Any:
        order = ctx.step.run("load", _call, "load")
        ctx.step.sleep("cool-down", "3h")
        return ctx.step.run("charge", _call, order)

    def new(ctx: SyncContext) -> Any:
        ctx.step.run("load", _call, "load")
        return ctx.step.run("charge-2", _call, "charge")

    assert _rehearsed(_engine(old), _engine(old)) == "None"
    assert _rehearsed(_engine(old), _engine(new)) == "new step charge-2 (run): was cool-down (sleep)"


def test_who_takes_the_first_of_two_goes_the_same_way() -> None:
    async def first(ctx: Context) -> Any:
        slow = asyncio.create_task(ctx.step.run("slow", asyncio.sleep, 60))
        fast = asyncio.create_task(ctx.step.run("fast", _call, "fast"))
        done, _ = await asyncio.wait([slow, fast], return_when=asyncio.FIRST_COMPLETED)
        return [task.result() for task in done]

    assert _rehearsed(_engine(first), _engine(first)) == "None"


def test_a_recorded_result_that_new_annotations_do_not_take_differs() -> None:
    def number(name: str) -> int:
        raise AssertionError(name)

    async def old(ctx: Context) -> Any:
        return await ctx.step.run("load", _call, "load")

    async def new(ctx: Context) -> Any:
        return await ctx.step.run("load", number, "load")

    assert "the recorded result of step 'load' is not what" in _rehearsed(_engine(old), _engine(new))


def test_code_that_waits_outside_of_steps_is_given_up() -> None:
    async def old(ctx: Context) -> Any:
        return 1

    async def new(ctx: Context) -> Any:
        await asyncio.Event().wait()

    assert _rehearsed(_engine(old), _engine(new)) == "no end: was completed, would be nothing in 0.5 s outside of steps"


def test_events_that_are_sent_outside_of_steps_go_nowhere() -> None:
    engine = _engine(_pay)

    async def sending(ctx: Context) -> Any:
        await engine.send(Event("order/paid", {}, id="order-8"))
        return 1

    async def old(ctx: Context) -> Any:
        return 1

    engine = _engine(sending)
    assert _rehearsed(_engine(old), engine) == "None"


class _App:
    """What a lifespan makes."""

    flag = True

    async def get(self, name: str) -> str:
        return _call(name)


async def _lifespan(engine: Engine) -> AsyncIterator[_App]:
    _CALLS.append("connected")
    yield _App()


def test_the_lifespan_is_not_entered_and_what_it_makes_may_be_handed_to_steps() -> None:
    async def handing(ctx: Context) -> Any:
        return await ctx.step.run("get", ctx.app.get, ctx.app.name if ctx.attempt else "x")

    async def looking(ctx: Context) -> Any:
        return await ctx.step.run("get", ctx.app.get, "x") if ctx.app.flag else None

    old, new = _engine(handing, lifespan=_lifespan), _engine(looking, lifespan=_lifespan)
    assert _rehearsed(old, _engine(handing, lifespan=_lifespan)) == "None"
    with pytest.raises(StandInError, match=r"pay looks at ctx\.app\.flag outside of its steps"):
        _rehearsed(old, new)

    async def entered() -> str:
        known = await _past(_engine(handing, lifespan=_lifespan), {})
        _CALLS.clear()
        async with Rehearsal(new, lifespan=True) as rehearsal:
            return str(await rehearsal.rehearse(known, _event(known, {})))

    assert asyncio.run(entered()) == "None"
    assert _CALLS == ["connected"]


class _Rounding:
    """Middleware that changes results, and counts the steps that it surrounds."""

    def __init__(self) -> None:
        self.steps = 0

    async def around_run(self, ctx: Any, call: Any) -> Any:
        return [await call()]

    async def around_step(self, ctx: Any, step: Any, call: Any) -> Any:
        self.steps += 1
        return await call()


def test_middleware_surrounds_runs_and_no_steps() -> None:
    middleware = _Rounding()
    old, new = _engine(_pay), _engine(_pay, middleware=[middleware])
    assert _rehearsed(old, new) == 'result: was ["a","b",7], would be [["a","b",7]]'
    assert not middleware.steps


def test_what_runs_log_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    async def logging_(ctx: Context) -> Any:
        ctx.logger.warning("begun")
        await ctx.step.run("load", _call, "load")
        ctx.logger.warning("done")

    with caplog.at_level(logging.WARNING):
        assert _rehearsed(_engine(logging_), _engine(logging_)) == "None"
    assert [record.message for record in caplog.records] == ["begun", "done"]


def test_a_run_that_goes_on_stays_on_its_version() -> None:
    async def one(ctx: Context) -> Any:
        await ctx.step.run("one", _call, "one")

    async def two(ctx: Context) -> Any:
        await ctx.step.run("two", _call, "two")

    async def both() -> list[str]:
        old = Engine("shop")
        old.function("pay", on="order/placed", version="1")(one)
        known = await _past(old, {})
        going = replace(known, ended=None)
        new = Engine("shop")
        new.function("pay", on="order/placed", version="1", accepts_new=False)(one)
        new.function("pay", on="order/placed", version="2")(two)
        gone = Engine("shop")
        gone.function("pay", on="order/placed", version="2")(two)
        told = []
        for engine, which in ((new, going), (new, known), (gone, going)):
            async with Rehearsal(engine) as rehearsal:
                told.append(str(await rehearsal.rehearse(which, _event(known, {}))))
        return told

    new_step = "new step two (run): was one (run)"
    assert asyncio.run(both()) == ["None", new_step, new_step]


async def _approved(ctx: Context) -> Any:
    first = ctx.step.callback("first", timeout="1d")
    second = ctx.step.callback("second", timeout="1h")
    order = await ctx.step.run("load", _call, "load")
    if ctx.event.data.get("early"):
        await ctx.step.sleep("later", "1m")
    return [order, await first, await second]


def _approved_in_thread(ctx: SyncContext) -> Any:
    first = ctx.step.callback("first", timeout="1d")
    second = ctx.step.callback("second", timeout="1h")
    order = ctx.step.run("load", _call, "load")
    return [order, first.result(), second.result()]


async def _approved_past(engine: Engine, data: dict[str, Any], *, completes: bool) -> Past:
    """Execute a run whose first callback is completed, if it is, and whose second one never is."""
    async with Harness(engine) as harness:
        with _recording(harness) as records:
            await harness.send(Event("order/placed", data))
            if completes:
                [run] = harness.runs("pay")
                token = token_of(b"of the test", Named("shop", run.run_id, "first"))
                assert await harness.complete(token, {"ok": True}) == "completed"
                await harness.advance()
    found = past(record for _, record in records if not isinstance(record, EventDisposed) and record.function == "pay")
    assert found is not None
    return found


@pytest.mark.parametrize("body", [_approved, _approved_in_thread])
@pytest.mark.parametrize(("data", "completes"), [({}, True), ({"early": 1}, True), ({}, False)])
def test_callbacks_are_answered_by_history_in_whatever_order_they_were_awaited(
    body: Body | SyncBody, data: dict[str, Any], completes: bool
) -> None:
    async def other(ctx: Context) -> Any:
        approval = ctx.step.callback("first", timeout="1d")
        await ctx.step.run("load", _call, "load")
        return [await approval]

    async def both() -> list[str]:
        known = await _approved_past(_engine(body), data, completes=completes)
        told = []
        for code in (body, other):
            async with Rehearsal(_engine(code), seconds=0.5) as rehearsal:
                rehearsal.use_secret(b"of the test")
                told.append(str(await rehearsal.rehearse(known, _event(known, data))))
        return told

    same, differs = asyncio.run(both())
    assert same == "None"
    if completes:
        assert differs.startswith("step left out")
