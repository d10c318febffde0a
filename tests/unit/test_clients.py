"""What is asked of Kafka by way of a client that remembers too long what was wrong."""

import threading
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream_engine.shell import clients
from stream_engine.shell.clients import insist, offsets
from stream_engine.shell.control import ControlError, write
from stream_engine.shell.settings import Settings
from stream_engine.shell.trouble import NoAnswerError


class Stuck:
    """A consumer that was made while a partition had no leader, or asks one that is gone, until it is told to look (librdkafka 2.16)."""

    def __init__(self, error: int) -> None:
        self._error = error
        self.looked = False

    def get_watermark_offsets(self, part: TopicPartition, timeout: float) -> tuple[int, int]:
        assert timeout > 0
        if not self.looked:
            raise KafkaException(KafkaError(self._error))
        return 3, 3 + part.partition

    def list_topics(self, topic: str, timeout: float) -> Any:
        assert (topic, timeout > 0) == ("t", True)
        self.looked = True


@pytest.mark.parametrize(
    "error", [KafkaError._UNKNOWN_PARTITION, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._TIMED_OUT]
)
def test_a_client_that_knows_no_leader_that_is_there_is_told_to_look(error: int) -> None:
    assert offsets(cast("Consumer", Stuck(error)), "t", 4) == range(3, 7)


def test_what_lasts_is_told_when_the_patience_is_over_and_whoever_asks_again_has_looked() -> None:
    consumer = Stuck(KafkaError._TIMED_OUT)
    with pytest.raises(KafkaException):
        offsets(cast("Consumer", consumer), "t", 4, patience=-1)
    assert consumer.looked


def test_what_looking_does_not_help_is_told_at_once() -> None:
    consumer = Stuck(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        offsets(cast("Consumer", consumer), "t", 4)
    assert not consumer.looked


class Refusing:
    """A producer whose messages end with errors."""

    def __init__(self, *errors: int) -> None:
        self._errors = list(errors)
        self._reports: list[Any] = []

    def produce(self, *_: object, on_delivery: Any) -> None:
        self._reports.append(on_delivery)

    def flush(self, _: float) -> int:
        for report, error in zip(self._reports, self._errors, strict=True):
            report(KafkaError(error), None)
        return 0


def test_what_kafka_refuses_to_take_is_no_matter_of_waiting() -> None:
    producer = Refusing(KafkaError._MSG_TIMED_OUT, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(ControlError, match="Topic authorization failed"):
        write(cast("Producer", producer), "shop.control", {"a": b"1", "b": b"2"})


def test_a_worker_insists_on_what_it_writes_while_kafka_is_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(clients, "_AGAIN_SECONDS", 0.0)
    nowhere = Settings(state_dir=tmp_path, bootstrap_servers="127.0.0.1:1")
    away = clients.producer(nowhere, **{"delivery.timeout.ms": 100, "log_level": 2})
    asked: list[str] = []

    def ask() -> str:
        asked.append("asked")
        if len(asked) < 3:
            write(away, "shop.control", {"key": b"value"})
        return "begun"

    assert insist(ask, threading.Event(), "where it begins") == "begun"
    assert len(asked) == 3


def test_nobody_insists_who_has_been_told_to_stop() -> None:
    stopping = threading.Event()

    def ask() -> str:
        stopping.set()
        raise NoAnswerError("no answer")

    assert insist(ask, stopping, "where it begins") is None
