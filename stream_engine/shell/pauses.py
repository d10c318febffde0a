"""Pauses of functions, as the workers of an app follow them: what the control topic says of them, and that a worker goes by it.

A worker writes down which pauses it goes by, under the name by which the leaders' group knows it, so that whoever pauses a function can wait until all
members of that group do. A worker that joins later has read the control topic to its end before. A worker goes by a pause once all of its threads do that
match events, and Kafka has what they had matched before: what is on its way to the leaders then is on the commands topic. The same holds of those that decide: what
they had decided before, without knowing of the pause, is in the journal or never will be.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from confluent_kafka import Producer

from stream_engine.core.functions.pausing import Pause

PAUSE: Final = "pause/"
"""What the keys of the control topic begin with that say whether a function is paused; its id follows."""

FOLLOWED: Final = "follows/"
"""The same for what a worker goes by: a `Followed`; the worker's name in its group follows."""

Followed = dict[str, int]
"""When what a worker goes by was written, by function, or by the keys of replays (see `stream_engine.shell.halts`); in milliseconds since the epoch."""


class Matching:
    """The pauses by which events are matched, and those that the threads go by which do that.

    Attributes:
        pauses: what is to be gone by now; whoever matches events by it has read it before.
    """

    def __init__(self, pauses: Mapping[str, Pause]) -> None:
        self.pauses = pauses
        self._gone_by: dict[object, Mapping[str, Pause]] = {}

    def follow(self, thread: object, flush: Callable[[], int]) -> bool:
        """Have a thread go by the pauses of now before it matches more; return False if it has to be asked again first.

        ``flush`` waits for a moment, and returns how much of what the thread has matched Kafka has not acknowledged.
        """
        pauses = self.pauses
        if self._gone_by.get(thread) == pauses:
            return True
        if flush():
            return False
        self._gone_by[thread] = pauses
        return True

    def leave(self, thread: object) -> None:
        """Note that a thread matches nothing any more, and that Kafka has acknowledged all that it has matched."""
        self._gone_by.pop(thread, None)

    def all_go_by(self, pauses: Mapping[str, Pause]) -> bool:
        """Return whether all threads that match events go by some pauses."""
        return all(gone_by == pauses for gone_by in list(self._gone_by.values()))


class Deciding:
    """Which state of what operators have halted all decisions of a worker go by.

    Who follows the control topic calls `replaced` after each change that decisions see. Who decides calls, in each round, `begin` before it decides, and `end` once what has been
    acknowledged has taken effect. What was decided before a change counts until Kafka reports of its append: the journal may have it, even if the worker has given up its partition meanwhile.
    """

    def __init__(self) -> None:
        self._newest = 0
        self._seen = 0
        self._gone_by = 0
        self._under_way: list[int] = []

    @property
    def goes_by_all(self) -> bool:
        """Whether nothing that was decided without the latest change may still take effect; for the thread that follows."""
        return self._gone_by == self._newest

    def replaced(self) -> None:
        """Note that whoever looks sees a new state."""
        self._newest += 1

    def begin(self) -> None:
        """Begin a round: what it decides goes by what can be seen by now, or newer."""
        self._seen = self._newest

    def appended(self) -> Callable[[], None]:
        """Note that something decided in this round is on its way to the journal; return what to call when Kafka reports of it."""
        seen = self._seen
        self._under_way.append(seen)
        return lambda: self._under_way.remove(seen)

    def end(self) -> None:
        """End a round."""
        if all(seen == self._seen for seen in self._under_way):
            self._gone_by = self._seen


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

    def tell(self, pauses: Mapping[str, Pause], halted: Followed) -> None:
        """Write down what the worker goes by, unless that stands there; call it again and again, from one thread."""
        member = self._member()
        if self._producer is not None:
            self._producer.poll(0)
        if member is None or not (pauses or halted or self._told):
            return
        now = member, {function: pause.at for function, pause in pauses.items()} | halted
        if now == self._told:
            return
        if self._producer is None:
            self._producer = self._make()
        before, self._told = self._told, now

        def delivered(error: object, _: object) -> None:
            if error is not None:
                # The next producer may reach what this one has lost for good.
                self._told = self._producer = None

        try:
            value = msgspec.json.encode(now[1])
            if before is not None and before[0] != member:
                self._producer.produce(self._topic, None, FOLLOWED + before[0], 0)
            self._producer.produce(self._topic, value, FOLLOWED + member, 0, on_delivery=delivered)
        except BufferError:
            self._told = None
