"""Events and messages that runs and programs send."""

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from stream_engine import Context, Engine, Event, RunFailed, StepError, testing
from stream_engine.core.partition.turn import Attempt, Deliver
from stream_engine.core.records.journal import Event as Record
from stream_engine.core.records.tables import Step
from stream_engine.core.routing.receive import Message as Received
from stream_engine.core.routing.receive import receive
from stream_engine.core.stages.commands import FailStep, RecordStep
from stream_engine.sdk.event_types import EventTypes
from stream_engine.sdk.execution import Executor
from stream_engine.sdk.topics import Topics
from stream_engine.testing import Harness
from tests.scripted import RUN, ScriptedTerm, until


class Order(BaseModel):
    order_id: int
    note: str = ""


NOW = 1_767_225_600_000


def received(event: Event[Any], types: EventTypes | None = None) -> Record:
    key, value, headers = (types or EventTypes()).message(event)
    record = receive(Received("t", "id", 0, 0, NOW, key, value, tuple(headers)), {})
    assert isinstance(record, Record)
    return record


def test_what_is_sent_is_what_is_received() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    record = received(Event("a", {"x": 1}, id="i", ts=at, key=7))
    assert (record.name, record.id, record.data, record.key) == ("a", "i", b'{"x":1}', b"7")
    assert record.ts == at.timestamp() * 1000
    assert received(Event("a", Order(order_id=1))).data == b'{"order_id":1,"note":""}'
    assert received(Event("a", ts=5)).ts == 5
    assert received(Event("a", key=b"\xff")).key == b"\xff"


def test_a_bound_event_gets_its_key_and_is_checked() -> None:
    types = EventTypes()
    types.declare("order", Order, "data.order_id")
    assert received(Event("order", {"order_id": 5}), types).key == b"5"
    assert received(Event("order", {"order_id": 5}, key="k"), types).key == b"k"
    with pytest.raises(ValueError, match=r"event 'order': its data does not fit Order: .*order_id"):
        types.message(Event("order", {"order_id": "x"}))
    assert types.checks()["order"](b'{"order_id":1}') is None
    assert "order_id" in str(types.checks()["order"](b"{}"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1], r"event 'a': its data is b'\[1\]'; give a dict or a model"),
        ({"x": object()}, "dict cannot be written as JSON"),
        ({"x": float("nan")}, "dict cannot be written as JSON: NaN or Infinity is in it"),
        ({"x": "y" * 600_000}, r"event 'a' has 600,0\d\d bytes of JSON; the limit is 524,288"),
    ],
)
def test_data_that_cannot_be_sent_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EventTypes().message(Event("a", data))


def app(body: Any) -> Engine:
    engine = Engine("app")
    engine.function("f", on="begin")(body)
    return engine


def test_events_of_a_step_have_ids_that_follow_from_it_and_start_functions() -> None:
    async def f(ctx: Context) -> list[str]:
        return await ctx.step.send_event("s", [Event("sent", {"n": 1}), Event("sent", id="own")])

    engine = app(f)

    @engine.function("g", on="sent")
    async def g(ctx: Context) -> Any:
        return ctx.event.data

    async def script() -> None:
        async with Harness(engine) as harness:
            await harness.send(Event("begin", id="1"))
            [run] = harness.runs("f")
            assert run.result[1] == "own"
            assert [sent.event_id for sent in harness.runs("g")] == run.result
            assert [sent.result for sent in harness.runs("g")] == [{"n": 1}, {}]
            await harness.send(Event("begin", id="1"))
            assert len(harness.runs()) == 3

    asyncio.run(script())


@pytest.mark.parametrize("by_step", [True, False])
def test_what_the_code_of_a_run_sends_by_itself_says_which_run_that_was(by_step: bool) -> None:
    """Whichever way its code is called, in a step or outside of one, and whatever it goes through."""
    senders: dict[str, str | None] = {}

    async def in_a_task() -> None:
        await asyncio.create_task(send("task"))

    async def send(name: str) -> None:
        await engine.send(Event("sent", {"name": name}))

    def blocking() -> None:
        engine.send_sync(Event("sent", {"name": "blocking"}))
        outside = threading.Thread(target=lambda: engine.send_sync(Event("sent", {"name": "thread"})))
        outside.start()
        outside.join()

    async def f(ctx: Context) -> None:
        if by_step:
            await ctx.step.run("a", send, "plain")
            await ctx.step.run("b", in_a_task)
            await ctx.step.run("c", blocking)
            await ctx.step.run("d", g.start)
        else:
            await send("plain")
            await in_a_task()
            await asyncio.to_thread(blocking)
            await g.start()

    engine = app(f)

    @engine.function("g", on="sent")
    async def g(ctx: Context) -> None:
        senders[ctx.event.data.get("name", "start")] = ctx._execution.event.sender

    async def script() -> None:
        async with Harness(engine) as harness:
            await harness.send(Event("begin"))
            [run] = harness.runs("f")
            by = run.run_id
            assert senders == {"plain": by, "task": by, "blocking": by, "thread": None, "start": by}

    asyncio.run(script())


def test_produced_messages_have_a_mark_of_their_own() -> None:
    async def f(ctx: Context) -> None:
        await ctx.step.produce("a", "audit", key=1, value={"x": 1}, headers={"h": "v"})
        await ctx.step.produce("b", "audit", value=b"\xff")
        await ctx.step.produce("c", "audit", value="text")
        await ctx.step.produce("d", "audit", key="gone")

    async def script() -> None:
        async with Harness(app(f)) as harness:
            await harness.send(Event("begin"))
            a, b, c, d = harness.produced
            assert (a.topic, a.key, msgspec.json.decode(a.value or b"")) == ("audit", b"1", {"x": 1})
            assert a.headers[0] == ("h", b"v")
            assert a.headers[1][0] == "stream-engine-id"
            assert (b.value, c.value, d.key, d.value) == (b"\xff", b"text", b"gone", None)
            assert len({dict(message.headers)["stream-engine-id"] for message in harness.produced}) == 4

    asyncio.run(script())


@pytest.mark.parametrize(
    ("send", "message"),
    [
        (lambda ctx: ctx.step.send_event("s", "text"), "step 's': 't' is not an event; write Event"),
        (lambda ctx: ctx.step.send_event("s", Event("a", [])), r"step 's': event 'a': its data is b'\[\]'"),
        (
            lambda ctx: ctx.step.send_event("s", [Event("a", {"x": "y" * 500_000})] * 5),
            "step 's' sends 2,50.* use several",
        ),
        (lambda ctx: ctx.step.produce("p", "a/b"), "step 'p': produce: topic='a/b': Kafka's topics are called"),
        (lambda ctx: ctx.step.produce("p", "app.journal"), "topic='app.journal' is one of the engine's own"),
        (lambda ctx: ctx.step.produce("p", "t", value=object()), "step 'p': object cannot be written as JSON"),
        (lambda ctx: ctx.step.produce("p", "t", valeu=1), "produce: there is no valeu; there are key, value, headers"),
    ],
)
def test_what_cannot_be_sent_fails_the_run_at_once(send: Any, message: str) -> None:
    async def f(ctx: Context) -> None:
        await send(ctx)

    with pytest.raises(RunFailed, match=message):
        asyncio.run(testing.run(app(f).functions[0], {}))


def test_a_topic_that_does_not_exist_fails_the_step_until_it_does() -> None:
    topics: set[str] = set()
    asked: list[str] = []

    def exists(topic: str) -> bool:
        assert threading.current_thread() is not threading.main_thread()
        asked.append(topic)
        return topic in topics

    async def f(ctx: Context) -> None:
        await ctx.step.produce("a", "audit", value=1)
        await asyncio.gather(*(ctx.step.produce(id, "audit", value=2) for id in ("b", "c")))

    async def script() -> None:
        async with Executor(app(f), clock=lambda: 7, topics=Topics(exists)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: term.posted)
            [failed] = term.posted
            assert isinstance(failed, FailStep)
            assert (failed.step_id, failed.attempt, failed.kind) == ("a", 0, "produce")
            assert failed.retry_in is not None
            assert failed.error.type == "NoTopicError"
            assert failed.error.message == "there is no topic 'audit', and the cluster does not create it"
            topics.add("audit")
            executor.perform(term, [Attempt(RUN, "a", 1)])
            await until(term.waiting)
            recorded = term.waiting()["a"]
            assert isinstance(recorded, RecordStep)
            assert recorded.attempt == 1
            term.answer("a")
            await until(lambda: len(term.waiting()) == 2)
        assert asked == ["audit", "audit"]

    asyncio.run(script())


def test_out_of_retries_it_is_a_step_error_which_the_run_may_catch() -> None:
    async def f(ctx: Context) -> str:
        try:
            await ctx.step.produce("a", "audit")
        except StepError as error:
            return error.type
        return "sent"

    async def script() -> None:
        engine = Engine("app")
        engine.function("f", retries=0)(f)
        async with Executor(engine, topics=Topics(lambda _: False)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: term.posted)
            [failed] = term.posted
            assert isinstance(failed, FailStep)
            assert failed.retry_in is None
            executor.perform(term, [Deliver(RUN, "a", Step("produce", "failed", 0, 0, 0, 0, error=failed.error))])
            await until(lambda: term.result)
            assert term.result == b'"NoTopicError"'

    asyncio.run(script())


def test_where_kafka_does_not_say_the_message_waits_and_the_topic_is_asked_about_again() -> None:
    asked: list[str] = []

    async def f(ctx: Context) -> None:
        await ctx.step.produce("a", "audit")
        await ctx.step.produce("b", "audit")

    async def script() -> None:
        async with Executor(app(f), topics=Topics(asked.append)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(term.waiting)
            term.answer("a")
            await until(term.waiting)
        assert asked == ["audit", "audit"]

    asyncio.run(script())
