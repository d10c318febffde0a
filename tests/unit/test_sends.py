"""A producer that Kafka does not answer is replaced, as it may have lost all brokers for good, and still finishes what it has."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError

from stream_engine.sdk.events import Message
from stream_engine.shell import clients
from stream_engine.shell.client import KafkaTransport
from stream_engine.shell.trouble import NoAnswerError
from tests.workers import until


class Report:
    """Where a message has arrived."""

    def topic(self) -> str:
        return "shop.events"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7


class FakeProducer:
    """Fails with what it is given the first time, and delivers the rest once it may."""

    def __init__(self, error: int | None) -> None:
        self.error = error
        self.may_deliver = True
        self._left: list[Callable[[Any, Any], None]] = []

    def produce(self, *_: object, on_delivery: Callable[[Any, Any], None], **__: object) -> None:
        self._left.append(on_delivery)

    def poll(self, _: float) -> None:
        if self._left and (self.error is not None or self.may_deliver):
            told, self.error = self.error, None
            self._left.pop(0)(None if told is None else KafkaError(told), Report())

    def flush(self) -> None:
        while self._left:
            self.poll(0)

    def __len__(self) -> int:
        return len(self._left)


@pytest.mark.parametrize(("error", "made"), [(KafkaError._MSG_TIMED_OUT, 2), (KafkaError.MSG_SIZE_TOO_LARGE, 1)])
def test_a_producer_that_nobody_answers_is_replaced(monkeypatch: pytest.MonkeyPatch, error: int, made: int) -> None:
    monkeypatch.setenv("STREAM_ENGINE_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    first, second = FakeProducer(error), FakeProducer(None)
    first.may_deliver = False
    producers, given = itertools.chain([first, second]), list[FakeProducer]()

    def producer(*_: object, **__: object) -> FakeProducer:
        given.append(next(producers))
        return given[-1]

    monkeypatch.setattr(clients, "producer", producer)
    transport = KafkaTransport("shop", "shop.events")
    message = Message(b"{}", b"", [])
    failed, kept = transport.send([message]), transport.send([message])
    assert isinstance(failed.exception(10), NoAnswerError) == (made == 2)
    later = transport.send([message])
    assert len(given) == made
    if made == 2:
        assert later.result(10) == ["shop.events/0/7"]
    first.may_deliver = True
    assert kept.result(10) == ["shop.events/0/7"]
    until(lambda: not transport._retired, "the first producer has nothing left")
    assert later.result(10) == ["shop.events/0/7"]
    transport.close()
