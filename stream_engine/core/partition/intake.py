"""Each command once, although every sender may repeat itself.

A **router** that crashed routes again from its last commit. Its sequence numbers are offsets of the events topic, and any
partition sees only some of them, so they have gaps. The receiver keeps those that it saw; the floor in each record, below
which the router knows that everything arrived, keeps that set short.

A **leader** of another partition sends its outbox again from the first message that it does not know to be acknowledged.
Its numbers are dense, so the receiver applies only the next one: a lower one is a repeat, a higher one follows a gap that
the sender will fill, in order.

Live, what has arrived from a source is known for good: there are as many sources as partitions. Each replay has sources of its own, and what arrived from these is
forgotten when nothing has for longer than a replay can be gone on with.
"""

from msgspec.structs import replace

from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import Commands
from stream_engine.core.records.tables import INTAKE, Intake, Timer

FORGET = "intake"
"""The kind of timer that looks at whether what has arrived from a replay is to be forgotten; it names the source."""

RESUMED_FOR = 30 * 86_400_000
"""For how many milliseconds a replay can be gone on with after it was started."""

_KEPT = 2 * RESUMED_FOR
_ROUTER = "events/"


def router_source(topic_id: str, partition: int, replay_id: str | None) -> str:
    """Return the name under which what is routed from one partition of an events topic arrives."""
    return f"{_ROUTER}{topic_id}/{partition}/{replay_id or ''}"


def leader_source(topic_id: str, partition: int) -> str:
    """Return the name under which the leader of a partition sends; ``topic_id`` is its journal's."""
    return f"journal/{topic_id}/{partition}"


def arrived(turn: Turn, source: str, receipt: "Receipt") -> None:
    """Keep what has arrived from a source."""
    key = INTAKE.key(source)
    known = receipt.known()
    if source.startswith(_ROUTER) and not source.endswith("/"):
        known = replace(known, at=turn.now)
        if turn.state.get(INTAKE, key) is None:
            turn.set_timer(turn.now + _KEPT, Timer(FORGET, source))
    turn.state.put(key, known)


def forget(turn: Turn, source: str) -> None:
    """Forget what has arrived from a replay, if that is long ago, or else look again when it will be."""
    key = INTAKE.key(source)
    known = turn.state.get(INTAKE, key)
    if known is not None and known.at + _KEPT > turn.now:
        turn.set_timer(known.at + _KEPT, Timer(FORGET, source))
    elif known is not None:
        turn.state.delete(key)


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
