"""Partitions that ask hear that all is routed when the group has committed as far as the logs went, and not before."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from stream_engine.core.records.requests import Command
from stream_engine.core.records.wanted import Behind, CaughtUp
from stream_engine.core.routing.rewind import Progress
from stream_engine.shell.clock import now_ms
from stream_engine.shell.leading import horizon as module
from stream_engine.shell.leading.horizon import Horizon


def _done(value: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(value)
    return future


class _Admin:
    """Kafka, as far as it is asked: two partitions of one topic, and what the group has committed for them."""

    def __init__(self) -> None:
        self.ends = {0: 5, 1: 0}
        self.committed: dict[int, int] = {}
        self.away = True
        self.looked = 0

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=self.ends)})

    def list_offsets(self, asked: dict[TopicPartition, Any], request_timeout: float) -> Any:
        if self.away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return {part: _done(SimpleNamespace(offset=self.ends[part.partition])) for part in asked}

    def list_consumer_group_offsets(self, asked: list[Any], request_timeout: float) -> Any:
        assert request_timeout > 60, "a client that gives up while a coordinator is away ends the process"
        self.looked += 1
        parts = [
            TopicPartition("events", number, at, Progress(0, at, at).mark("E")) for number, at in self.committed.items()
        ]
        return {asked[0].group_id: _done(SimpleNamespace(topic_partitions=parts))}


Told = tuple[int, Command]


@pytest.fixture
def told() -> "SimpleQueue[Told]":
    return SimpleQueue()


@pytest.fixture
def admin() -> _Admin:
    return _Admin()


@pytest.fixture
def horizon(admin: _Admin, told: "SimpleQueue[Told]", monkeypatch: pytest.MonkeyPatch) -> Iterator[Horizon]:
    for name in ("_PATIENCE_SECONDS", "_RETRY_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)
    lost = iter([True, False])

    def tell(partition: int, command: Command, failed: Callable[[object], None]) -> None:
        if isinstance(command, CaughtUp) and next(lost, False):
            failed("it is full")
        else:
            told.put((partition, command))

    made = Horizon(lambda: admin, "routers", {"events": "E"}, tell, pytest.fail)  # type: ignore[arg-type,return-value]  # what of it is used
    made.start()
    yield made
    made.stop()


def test_who_asks_is_told_once_all_is_routed_and_meanwhile_why_not(
    horizon: Horizon, admin: _Admin, told: "SimpleQueue[Told]", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    before = now_ms()
    horizon.ask(3)
    partition, command = told.get(timeout=10)
    assert partition == 3
    assert isinstance(command, Behind)
    assert "until all that came before is routed: Kafka does not say how far" in caplog.text
    admin.committed, admin.away = {0: 4}, False
    looked = admin.looked
    while admin.looked < looked + 3:
        assert told.empty()
    admin.committed = {0: 5}
    # The first time, it does not arrive, and so it is found out once more.
    partition, command = told.get(timeout=10)
    assert partition == 3
    assert isinstance(command, CaughtUp)
    assert command.before >= before
