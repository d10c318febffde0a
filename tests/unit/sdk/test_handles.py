"""Starting functions from programs, and waiting for their runs."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec
import pytest
from pydantic import BaseModel

from stream_engine import Concurrency, Context, Engine, Event, RunCancelled, RunFailed, SyncContext
from stream_engine.core.failure import Failure
from stream_engine.core.identity import home_partition, run_id, run_name
from stream_engine.core.records.journal import Event as EventRecord
from stream_engine.sdk import transport
from stream_engine.sdk.events import Message
from stream_engine.sdk.transport import Outcome, set_transport_factory

T = TypeVar("T")
NOW = 1_700_000_000_000


def done(value: T) -> "Future[T]":
    future: Future[T] = Future()
    future.set_result(value)
    return future


class FakeTransport:
    def __init__(self, outcome: Outcome) -> None:
        self.sent: list[Message] = []
        self.asked: list[tuple[str, float | None]] = []
        self.cancelled: list[tuple[str, str]] = []
        self.closed = False
        self._outcome = outcome

    def send(self, messages: Sequence[Message]) -> "Future[list[str]]":
        self.sent.extend(messages)
        return done([f"app.events/0/{place}" for place in range(len(messages))])

    def run_outcome(self, run_id: str, timeout: float | None) -> "Future[Outcome]":
        self.asked.append((run_id, timeout))
        return done(self._outcome)

    def cancel(self, run_id: str, reason: str) -> "Future[None]":
        self.cancelled.append((run_id, reason))
        return done(None)

    def partitions(self) -> "Future[int]":
        return done(16)

    def close(self) -> None:
        self.closed = True


class Order(BaseModel):
    id: int


def app() -> Engine:
    engine = Engine("app")

    @engine.function("order", on="order")
    async def order(ctx: Context) -> Order:
        return Order(id=1)

    @engine.function("job")
    def job(ctx: SyncContext) -> list[int]:
        return []

    return engine


def test_start_sends_an_event_and_knows_the_run() -> None:
    engine = app()
    fake = FakeTransport(Outcome("completed", b'{"id":1}'))

    async def script() -> None:
        handle = await engine.functions[0].start({"n": 1}, id="i", delay="1h", key="k")
        assert await handle.result(timeout="5m") == Order(id=1)
        assert await handle.status() == "completed"
        identity = "id:i"
        assert handle.run_id == run_id(run_name("app", "order", identity, None), home_partition(identity, 16))
        assert fake.asked == [(handle.run_id, 300.0), (handle.run_id, 0)]

    with engine.client.instead(fake, lambda: NOW):
        asyncio.run(script())
    [(key, value, _)] = fake.sent
    sent = msgspec.json.decode(value)
    assert (key, sent) == (b"k", {"name": "engine/start/order", "data": {"n": 1}, "id": "i", "ts": NOW + 3_600_000})


def test_start_sync_is_the_same_without_a_loop() -> None:
    engine = app()
    fake = FakeTransport(Outcome("completed", b"[1,2]"))
    with engine.client.instead(fake, lambda: NOW):
        handle = engine.functions[1].start_sync()
        assert (handle.result(), handle.status()) == ([1, 2], "completed")
        assert engine.send_sync([Event("a"), Event("b", id="own")]) == ["app.events/0/0", "own"]
    assert msgspec.json.decode(fake.sent[0].value)["data"] == {}


@pytest.mark.parametrize(
    ("outcome", "error", "message"),
    [
        (Outcome("failed", None, Failure("ValueError", "no")), RunFailed, r"run .*-\d+ failed: ValueError: no"),
        (Outcome("timed_out"), RunFailed, "failed: TimeoutError: the run took too long"),
        (Outcome("cancelled"), RunCancelled, r"run .*-\d+ was cancelled"),
        (Outcome("sleeping"), TimeoutError, r"run .*-\d+ has not ended within 1s: it is sleeping, and goes on"),
    ],
)
def test_results_that_are_none(outcome: Outcome, error: type[Exception], message: str) -> None:
    engine = app()
    with engine.client.instead(FakeTransport(outcome), lambda: NOW), pytest.raises(error, match=message):
        engine.functions[0].start_sync().result("1s")


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"delay": "1h", "ts": 5}, ValueError, "start of 'order': give delay or ts, not both"),
        ({"delay": "soon"}, ValueError, "'soon' is not a duration"),
        ({"dealy": "1h"}, TypeError, "start: there is no dealy; there are id, delay, key, ts"),
    ],
)
def test_wrong_ways_to_start(how: dict[str, Any], error: type[Exception], message: str) -> None:
    engine = app()
    with engine.client.instead(FakeTransport(Outcome("queued")), lambda: NOW), pytest.raises(error, match=message):
        engine.functions[0].start_sync({}, **how)


def test_only_events_are_sent() -> None:
    with pytest.raises(TypeError, match=r"'text' is not an event; write Event\(name, data\)"):
        app().send_sync(["text"])  # type: ignore[list-item] # what the test is about


def test_the_transport_is_made_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_factory", [])
    engine = app()
    with pytest.raises(RuntimeError, match="app 'app' has nothing to send with"):
        engine.send_sync(Event("a"))
    made: list[FakeTransport] = []

    def make(name: str, events_topic: str) -> FakeTransport:
        assert (name, events_topic) == ("app", "app.events")
        made.append(FakeTransport(Outcome("queued")))
        return made[-1]

    set_transport_factory(make)
    engine.send_sync(Event("a"))
    engine.send_sync(Event("a"))
    engine.client.close()
    assert [fake.closed for fake in made] == [True]


def test_the_run_of_a_function_with_a_key_lives_where_the_key_does() -> None:
    engine = app()

    @engine.function("keyed", concurrency=Concurrency(1, key="event.data.tenant"))
    async def keyed(ctx: Context) -> None: ...

    with engine.client.instead(FakeTransport(Outcome("completed")), lambda: NOW):
        runs = [keyed.start_sync({"tenant": "a"}, id=str(number)).run_id for number in range(20)]
        homes = {run.rpartition("-")[2] for run in runs}
        [home] = homes
        asked = engine.catalogue().match(
            EventRecord("engine/start/keyed", "id:i", "i", NOW, NOW, "app.events", 0, 0, b'{"tenant":"a"}'), 16
        )
        assert [found.home for found in asked.asked] == [int(home)]
        with pytest.raises(ValueError, match="function 'keyed' cannot be started with this"):
            keyed.start_sync({})
