"""What is asked of Kafka by way of a client that remembers too long what was wrong."""

from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from stream_engine.shell.clients import offsets


class Stuck:
    """A consumer that was made while a partition had no leader: it says so until it is told to look (librdkafka 2.16)."""

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


@pytest.mark.parametrize("error", [KafkaError._UNKNOWN_PARTITION, KafkaError.NOT_LEADER_FOR_PARTITION])
def test_a_client_that_knows_of_no_leader_is_told_to_look(error: int) -> None:
    assert offsets(cast("Consumer", Stuck(error)), "t", 4) == range(3, 7)


def test_what_lasts_is_told_when_the_patience_is_over() -> None:
    with pytest.raises(KafkaException):
        offsets(cast("Consumer", Stuck(KafkaError._UNKNOWN_PARTITION)), "t", 4, patience=-1)


def test_what_looking_does_not_help_is_told_at_once() -> None:
    consumer = Stuck(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        offsets(cast("Consumer", consumer), "t", 4)
    assert not consumer.looked
