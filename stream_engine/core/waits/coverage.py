"""What has been offered to a partition of an interest, and what it asks the lanes for.

All lanes have to say since when they offer the events of an interest, before one of them may be taken for the earliest. What was offered is kept for
a while from when it came, and it came after the lane was asked; so what a lane has said holds for so long from then, and after that for what came in the last so
much time. Events are kept a little longer than anybody may look back, so that whoever asks in time, and is on its way, need not ask the lanes again.

What is asked for reaches at least a minute, and twice as far back as is needed, so that many waits of different age cause few scans.

Events are kept for as long as the waits of the last day or two look back. When none has looked back so far for a day, the lanes are told of less, which has nothing scanned:
what they offered before is kept as they said then. Waits that are open do not count, because they have been compared with what was there; one that has to ask again asks the lanes, too.
"""

import msgspec
from msgspec.structs import replace

from stream_engine.core.instants import LAST_MS
from stream_engine.core.partition.outbox import topic_queue
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.tables import Outgoing, Timer
from stream_engine.core.records.wait_tables import HELD_BACK, INTERESTS, Interest, Lane
from stream_engine.core.records.wanted import Offering
from stream_engine.core.waits.interests import Request, interest_of, request_key

INTEREST = "interest"
"""The kind of timer that looks at whether an interest is still one."""

ON_ITS_WAY = 60_000
"""How much longer an event is kept than anybody may look back, in milliseconds: who asks for it in time is still on its way."""

_CERTAIN = ON_ITS_WAY // 2
"""How much of that may be counted on: by the other half, the clock of the log may be ahead of the partition's."""

_LEAST_DEPTH = 60_000
_UNUSED = 24 * 3_600_000
_USED_EVERY = 3_600_000
"""How exactly it is known when an interest was last used."""


class Coverage:
    """The state of one interest in a partition, to be changed and then saved."""

    def __init__(self, turn: Turn, interest: str, known: Interest) -> None:
        self.interest = interest
        self.now = known
        self._turn = turn
        self._known = known

    @classmethod
    def of(cls, turn: Turn, interest: str) -> "Coverage | None":
        """Return that of an interest, or None if nobody waits here, or has lately."""
        known = turn.state.get(INTERESTS, INTERESTS.key(interest))
        return None if known is None else cls(turn, interest, known)

    @classmethod
    def used(cls, turn: Turn, name: str, path: str) -> "Coverage":
        """Return that of an interest that is used now."""
        interest = interest_of(name, path)
        known = turn.state.get(INTERESTS, INTERESTS.key(interest))
        if known is None:
            known = Interest(name=name, path=path, used_at=turn.now)
        elif turn.now - known.used_at > _USED_EVERY:
            known = replace(known, used_at=turn.now)
        return cls(turn, interest, known)

    @classmethod
    def open_comparisons(cls, turn: Turn, interest: str) -> int:
        """Return how many events of an interest are still to be compared with waits that they came to."""
        known = turn.state.get(INTERESTS, INTERESTS.key(interest))
        return 0 if known is None else known.comparing

    @property
    def reach(self) -> int:
        """Since when all events of the interest are here that are here at all; `LAST_MS` while a lane has not said so."""
        now = self._turn.now
        return max((LAST_MS if lane is None else _reach(lane, now) for lane in self._all()), default=LAST_MS)

    def count(self, more: int) -> None:
        """Note that so many more waits are open."""
        self.now = replace(self.now, open=self.now.open + more)
        if not self.now.open:
            self._set_timer()

    def comparing(self, more: int) -> None:
        """Note that so many more events are still to be compared with waits."""
        self.now = replace(self.now, comparing=max(0, self.now.comparing + more))

    def need(self, since: int, keep: int) -> None:
        """Have the lanes offer events since a time, if that has not been asked for already, and keep them for so long."""
        if keep > self.now.lately or not self.now.timer:
            self.now = replace(self.now, lately=max(keep, self.now.lately))
            self._set_timer()
        now = self.now
        is_here = self.reach <= since and all(lane is not None and lane.keep >= keep for lane in self._all())
        is_asked = now.since <= since and now.keep >= keep and not self._is_answered()
        if is_here or is_asked:
            return
        depth = max(_LEAST_DEPTH, self._turn.now - since)
        since = min(since, self._turn.now)
        self._ask(max(0, since - depth), max(keep, now.keep))

    def told(self, offering: Offering) -> None:
        """Take what a lane says. Where it took long to say it, what is asked for from now on is kept for longer than that."""
        said = Lane(offering.topic, offering.lane, offering.since, offering.asked_at, offering.keep)
        before = next((lane for lane in self.now.lanes if (lane.topic, lane.number) == (said.topic, said.number)), None)
        if before is not None and said.keep < before.keep:
            said = replace(said, since=min(said.since, before.since), before=before.keep)
        others = (lane for lane in self.now.lanes if (lane.topic, lane.number) != (said.topic, said.number))
        took = self._turn.now - offering.asked_at
        keep = max(self.now.keep, min(2 * took, _UNUSED))
        self.now = replace(self.now, lanes=(*others, said), many=offering.lanes, keep=keep)
        self._set_timer()

    def look(self) -> None:
        """Look at whether the interest is still one; if it is not, nothing more is to be offered. Keep events no longer than is of use."""
        turn, now = self._turn, self.now
        self.now = replace(now, timer=0)
        if not now.open and turn.now - now.used_at > _UNUSED:
            turn.state.delete(INTERESTS.key(self.interest))
            self._tell(None)
            return
        keep, is_at_rest = max(now.lately, _LEAST_DEPTH), self._is_answered() and not self._holds()
        if keep < now.keep and is_at_rest:
            self._ask(turn.now, keep)
        self.now = replace(self.now, lately=0)
        if not now.open or (is_at_rest and self.now.keep > _LEAST_DEPTH):
            self._set_timer()
        self.save()

    def _set_timer(self) -> None:
        if not self.now.timer:
            at = self._turn.now + _UNUSED
            self._turn.set_timer(at, Timer(INTEREST, self.interest))
            self.now = replace(self.now, timer=at)

    def save(self) -> None:
        """Put the state, if it has changed."""
        if self.now != self._known or not self._known.lanes:
            self._turn.state.put(INTERESTS.key(self.interest), self.now)

    def _ask(self, since: int, keep: int) -> None:
        """Have the lanes offer events since a time, and keep what they offer from now on for so long."""
        now = self.now = replace(self.now, since=since, keep=keep, asked_at=self._turn.now)
        self._tell(msgspec.json.encode(Request(now.name, now.path, since, keep, self._turn.now)))

    def _holds(self) -> bool:
        """Return whether a wait is held until more has been offered."""
        held = self._turn.state.scan(HELD_BACK, HELD_BACK.key(self.interest, ""), HELD_BACK.key(self.interest) + b"\1")
        return next(held, None) is not None

    def _is_answered(self) -> bool:
        """Return whether all lanes have said what they were asked last."""
        lanes = self._all()
        return bool(lanes) and all(lane is not None and lane.at >= self.now.asked_at for lane in lanes)

    def _all(self) -> list[Lane | None]:
        """Return what all lanes have said, None where one has not."""
        said = {(lane.topic, lane.number): lane for lane in self.now.lanes}
        return [said.get((topic, number)) for topic, count in self.now.many for number in range(count)]

    def _tell(self, value: bytes | None) -> None:
        rules = self._turn.rules
        key = request_key(self.interest, rules.partition).encode()
        self._turn.send(topic_queue(rules.control_topic), Outgoing(rules.control_topic, 0, key, value))


def look(turn: Turn, interest: str) -> None:
    """Look at whether an interest is still one."""
    coverage = Coverage.of(turn, interest)
    if coverage is not None:
        coverage.look()


def _reach(lane: Lane, now: int) -> int:
    """Return since when all that a lane has is here.

    Where it had events kept for longer before it was asked last, none of these is gone as long as those are here that came behind them.
    """
    kept = lane.keep + _CERTAIN
    if now < lane.at + kept:
        return max(lane.since, now - lane.before - _CERTAIN) if lane.before else lane.since
    return max(lane.since, now - kept)
