"""The outbox of a term: what Kafka does not let through to another app is told, and what is sent in its place goes in its place."""

from collections.abc import Callable
from time import process_time
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Producer

from stream_engine.core.partition.outbox import commands_queue, entry_key, foreign_queue
from stream_engine.core.records.tables import Outgoing
from stream_engine.shell.leading import outbox
from stream_engine.shell.leading.outbox import Outbox

FAR = foreign_queue("other.commands", 0)


class _Kafka:
    """What a producer has been given, and what becomes of it; its clock is the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.under_way: list[tuple[bytes, Callable[[Any, None], None]]] = []
        self.sent: list[bytes] = []
        self.refused: list[tuple[str, str]] = []
        monkeypatch.setattr(outbox, "monotonic", lambda: self.now)
        self.outbox = Outbox(cast("Producer", self), self.sent.append, lambda *told: self.refused.append(told))

    def produce(self, topic: str, value: bytes, *_: Any, on_delivery: Callable[[Any, None], None], **__: Any) -> None:
        assert topic == "other.commands"
        self.under_way.append((value, on_delivery))

    def send(self, queue: str, number: int, value: bytes) -> None:
        self.outbox.send(entry_key(queue, number), Outgoing("other.commands", 0, None, value))

    def answer(self, code: int | None) -> list[bytes]:
        answered, self.under_way = self.under_way, []
        for _, delivered in answered:
            delivered(None if code is None else KafkaError(code), None)
        return [value for value, _ in answered]

    def retry(self, seconds: float) -> None:
        self.now += seconds
        self.outbox.retry()


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> _Kafka:
    return _Kafka(monkeypatch)


def test_what_is_refused_for_some_seconds_is_told_and_replaced_in_its_place(kafka: _Kafka) -> None:
    for number in range(2):
        kafka.send(FAR, number, b"call %d" % number)
    kafka.answer(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert kafka.refused == []
    for _ in range(2):
        kafka.retry(1.6)
        kafka.answer(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert [queue for queue, _ in kafka.refused] == [FAR]
    assert "authorization" in kafka.refused[0][1]
    for number in range(2):
        kafka.send(FAR, number, b"nothing %d" % number)
    kafka.send(FAR, 2, b"call 2")
    assert kafka.under_way == []
    kafka.retry(1.6)
    kafka.answer(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert [queue for queue, _ in kafka.refused] == [FAR, FAR]
    kafka.retry(1.6)
    assert kafka.answer(None) == [b"nothing 0", b"nothing 1", b"call 2"]
    assert kafka.sent == [entry_key(FAR, number) for number in range(3)]


@pytest.mark.parametrize(
    ("queue", "code"),
    [
        (commands_queue(0), KafkaError.TOPIC_AUTHORIZATION_FAILED),
        (FAR, KafkaError._MSG_TIMED_OUT),
    ],
)
def test_what_is_the_app_s_own_or_may_pass_is_tried_for_ever(kafka: _Kafka, queue: str, code: int) -> None:
    kafka.send(queue, 0, b"call")
    for _ in range(10):
        kafka.answer(code)
        kafka.retry(1.6)
    assert kafka.refused == []
    assert kafka.answer(None) == [b"call"]


def test_a_refusal_that_passes_is_none(kafka: _Kafka) -> None:
    kafka.send(FAR, 0, b"call 0")
    kafka.answer(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    kafka.retry(1.6)
    kafka.answer(None)
    kafka.now += 10
    kafka.send(FAR, 1, b"call 1")
    kafka.answer(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert kafka.refused == []


def test_what_arrived_before_it_was_to_be_replaced_stays_as_it_is(kafka: _Kafka) -> None:
    for number in range(3):
        kafka.send(FAR, number, b"call %d" % number)
    [(_, arrived), *others] = kafka.under_way
    arrived(None, None)
    kafka.under_way = others
    kafka.answer(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    for number in range(3):
        kafka.send(FAR, number, b"nothing %d" % number)
    kafka.retry(1.6)
    assert kafka.answer(None) == [b"nothing 1", b"nothing 2"]
    assert kafka.sent == [entry_key(FAR, number) for number in range(3)]


def test_to_replace_all_that_waits_takes_about_as_long_as_to_send_it(kafka: _Kafka) -> None:
    """Thousands of calls may be refused at once, and other partitions are led by the same thread."""

    def seconds(value: bytes) -> float:
        before = process_time()
        for number in range(5_000):
            kafka.send(FAR, number, value)
        return process_time() - before

    to_send = seconds(b"call")
    kafka.answer(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    to_replace = seconds(b"nothing")
    assert to_replace < 20 * to_send
    kafka.retry(1.6)
    assert kafka.answer(None) == [b"nothing"] * 5_000
    assert kafka.sent == [entry_key(FAR, number) for number in range(5_000)]
