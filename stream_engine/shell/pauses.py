"""Pauses of functions, as the workers of an app follow them: what the control topic says of them, and that a worker goes by it.

A worker writes down which pauses it goes by, under the name by which the leaders' group knows it, so that whoever pauses a function can wait until all
members of that group do. A worker that joins later has read the control topic to its end before.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from confluent_kafka import Producer

from stream_engine.core.pausing import Pause

PAUSE: Final = "pause/"
"""What the keys of the control topic begin with that say whether a function is paused; its id follows."""

FOLLOWED: Final = "follows/"
"""The same for what a worker goes by: a `Followed`; the worker's name in its group follows."""

Followed = dict[str, int]
"""When what a worker goes by was written, by function; in milliseconds since the epoch."""


def decode(values: Mapping[str, bytes]) -> dict[str, Pause]:
    """Return pauses by function, as the control topic has them."""
    return {function: msgspec.json.decode(raw, type=Pause) for function, raw in values.items()}


class Follows:
    """Tells which pauses this worker goes by."""

    def __init__(self, topic: str, make: Callable[[], Producer], member: Callable[[], str | None]) -> None:
        """``make`` makes the producer, once there is something to tell; ``member`` returns the worker's name in its group."""
        self._topic = topic
        self._make = make
        self._member = member
        self._producer: Producer | None = None
        self._told: tuple[str, Followed] | None = None

    def tell(self, pauses: Mapping[str, Pause]) -> None:
        """Write down what the worker goes by, unless that stands there; call it again and again, from one thread."""
        member = self._member()
        if self._producer is not None:
            self._producer.poll(0)
        if member is None or not (pauses or self._told):
            return
        now = member, {function: pause.at for function, pause in pauses.items()}
        if now == self._told:
            return
        if self._producer is None:
            self._producer = self._make()
        before, self._told = self._told, now

        def delivered(error: object, _: object) -> None:
            if error is not None:
                self._told = None

        try:
            value = msgspec.json.encode(now[1])
            if before is not None and before[0] != member:
                self._producer.produce(self._topic, None, FOLLOWED + before[0], 0)
            self._producer.produce(self._topic, value, FOLLOWED + member, 0, on_delivery=delivered)
        except BufferError:
            self._told = None
