"""A producer that knows what it sent, and where Kafka put it: events with ids, without, with ids sent before, and nonsense."""

import json
import threading
from random import Random
from typing import Any, NamedTuple

from confluent_kafka import Producer

_FLUSH_SECONDS = 60.0
_NAMES = ("single", "five", "single", "flaky", "five", "blocking", "single", "five")
_NONSENSE: tuple[bytes | None, ...] = (
    b"no JSON at all",
    b'{"name": "load/single", "data": {}, "surprise": 1}',
    b"",
    b'{"name": "load/single", "data": 7}',
)
_REMEMBERED = 200


class Sent(NamedTuple):
    """A message that Kafka acknowledged."""

    partition: int
    offset: int
    value: bytes | None


class Load(threading.Thread):
    """Sends events at an even rate, until told to stop."""

    def __init__(self, servers: str, topic: str, per_second: float, seed: int) -> None:
        super().__init__(name="load", daemon=True)
        self.sent: list[Sent] = []
        self.produced = 0
        self._topic = topic
        self._pause = 1 / per_second
        self._random = Random(seed)
        self._with_id: list[bytes] = []
        self._stopping = threading.Event()
        self._producer = Producer(
            {"bootstrap.servers": servers, "acks": "all", "enable.idempotence": True, "linger.ms": 5}
        )

    def run(self) -> None:
        """Send, until told to stop."""
        while not self._stopping.wait(self._pause):
            self.send()
        self.finish()

    def stop(self) -> None:
        """Send no more, and wait until Kafka has all of it."""
        self._stopping.set()
        self.join()

    def send(self) -> None:
        """Send the next message."""
        value = self._next(self.produced)
        self.produced += 1

        def delivered(error: Any, message: Any) -> None:
            assert error is None, error
            self.sent.append(Sent(message.partition(), message.offset(), value))

        # A random key spreads events over partitions, repeats of one id included.
        self._producer.produce(self._topic, value, self._random.randbytes(4), on_delivery=delivered)
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait until Kafka has all that was sent."""
        assert self._producer.flush(_FLUSH_SECONDS) == 0, "Kafka does not take the load"
        assert len(self.sent) == self.produced

    def _next(self, n: int) -> bytes | None:
        if n % 40 == 39:
            return _NONSENSE[n // 40 % len(_NONSENSE)]
        if n % 4 == 1 and self._with_id:
            return self._random.choice(self._with_id[-_REMEMBERED:])
        event: dict[str, Any] = {"name": f"load/{self._random.choice(_NAMES)}", "data": {"n": n}}
        if n % 4 == 2:
            event["id"] = f"load-{n}"
            self._with_id.append(json.dumps(event).encode())
        return json.dumps(event).encode()
