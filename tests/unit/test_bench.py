"""The benchmark measures what it says that it does."""

from typing import Any, cast

import msgspec
from confluent_kafka import KafkaError, Producer

from stream_engine.cli.bench.kafka import send_all


class _Full:
    """A producer that has room for a few messages at a time, and makes more when it is polled."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self._room = 3

    def produce_batch(self, topic: str, messages: list[dict[str, Any]]) -> None:
        assert topic == "t"
        for message in messages:
            assert "_error" not in message
            if self._room:
                self._room -= 1
                self.taken.append(message["value"])
            else:
                message["_error"] = KafkaError(KafkaError._QUEUE_FULL)

    def poll(self, timeout: float) -> None:
        if timeout:
            self._room = 3

    def flush(self) -> None:
        """Have nothing to wait for."""


def test_an_event_that_the_client_has_no_room_for_is_sent_later() -> None:
    """Otherwise the figures would be those of fewer events, or the end of the missing ones would be awaited."""
    producer = _Full()
    send_all(cast("Producer", producer), "t", "n", range(2_500))
    sent = [msgspec.json.decode(value) for value in producer.taken]
    assert sorted(event["data"] for event in sent) == list(range(2_500))
    assert {event["name"] for event in sent} == {"n"}
