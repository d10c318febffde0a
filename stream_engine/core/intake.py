"""Each command once, although every sender may repeat itself.

A **router** that crashed routes again from its last commit. Its sequence numbers are offsets of the events topic, and any
partition sees only some of them, so they have gaps. The receiver keeps those that it saw; the floor in each record, below
which the router knows that everything arrived, keeps that set short.

A **leader** of another partition sends its outbox again from the first message that it does not know to be acknowledged.
Its numbers are dense, so the receiver applies only the next one: a lower one is a repeat, a higher one follows a gap that
the sender will fill, in order.
"""

from stream_engine.core.requests import Commands
from stream_engine.core.tables import Intake


def router_source(topic_id: str, partition: int, replay_id: str | None) -> str:
    """Return the name under which what is routed from one partition of an events topic arrives."""
    return f"events/{topic_id}/{partition}/{replay_id or ''}"


def leader_source(topic_id: str, partition: int) -> str:
    """Return the name under which the leader of a partition sends; ``topic_id`` is its journal's."""
    return f"journal/{topic_id}/{partition}"


class Receipt:
    """Tells new commands from repeats, for one record of the commands topic."""

    def __init__(self, known: Intake | None, record: Commands) -> None:
        known = known or Intake(0)
        self._dense = record.floor is None
        self._floor = known.floor if record.floor is None else max(known.floor, record.floor)
        self._seen = {number for number in known.seen if number >= self._floor}

    def take(self, number: int) -> bool:
        """Return whether the command with this number is to be applied; if so, it has now been seen."""
        if self._dense:
            if number != self._floor:
                return False
            self._floor += 1
            return True
        if number < self._floor or number in self._seen:
            return False
        self._seen.add(number)
        return True

    def known(self) -> Intake:
        """Return what is to be remembered of the source."""
        return Intake(self._floor, tuple(sorted(self._seen)))
