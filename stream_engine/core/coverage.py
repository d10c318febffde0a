"""What has been offered to a partition of an interest, and what it asks the lanes for.

All lanes have to say since when they offer the events of an interest, before one of them may be taken for the earliest. What was offered is kept for
a while from when it came; so what a lane has said holds for so long, and after that for what came in the last so much time.

What is asked for reaches at least a minute, and twice as far back as is needed, so that many waits of different age cause few scans.
"""

import msgspec
from msgspec.structs import replace

from stream_engine.core.interests import Request, interest_of, request_key
from stream_engine.core.outbox import topic_queue
from stream_engine.core.runs import LAST_MS
from stream_engine.core.tables import Outgoing, Timer
from stream_engine.core.turn import Turn
from stream_engine.core.wait_tables import INTERESTS, Interest, Lane
from stream_engine.core.wanted import Offering

INTEREST = "interest"
"""The kind of timer that looks at whether an interest is still one."""

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

    @property
    def reach(self) -> int:
        """Since when all events of the interest are here that are here at all; `LAST_MS` while a lane has not said so."""
        now = self._turn.now
        return max((LAST_MS if lane is None else _reach(lane, now) for lane in self._all()), default=LAST_MS)

    def count(self, more: int) -> None:
        """Note that so many more waits are open."""
        self.now = replace(self.now, open=self.now.open + more)
        if not self.now.open and not self.now.timer:
            self._set_timer()

    def need(self, since: int, keep: int) -> None:
        """Have the lanes offer events since a time, if that has not been asked for already, and keep them for so long."""
        now = self.now
        is_here = self.reach <= since and all(lane is not None and lane.keep >= keep for lane in self._all())
        is_asked = now.since <= since and now.keep >= keep and not self._is_answered()
        if is_here or is_asked:
            return
        depth = max(_LEAST_DEPTH, self._turn.now - since)
        since = min(since, self._turn.now)
        self.now = replace(now, since=max(0, since - depth), keep=max(keep, now.keep), asked_at=self._turn.now)
        request = Request(now.name, now.path, self.now.since, self.now.keep, self._turn.now)
        self._tell(msgspec.json.encode(request))

    def told(self, offering: Offering) -> None:
        """Take what a lane says."""
        said = Lane(offering.topic, offering.lane, offering.since, self._turn.now, offering.keep)
        others = (lane for lane in self.now.lanes if (lane.topic, lane.number) != (said.topic, said.number))
        self.now = replace(self.now, lanes=(*others, said), many=offering.lanes)

    def look(self) -> None:
        """Look at whether the interest is still one; if it is not, nothing more is to be offered."""
        turn, now = self._turn, self.now
        self.now = replace(now, timer=0)
        if not now.open and turn.now - now.used_at > max(now.keep, _UNUSED):
            turn.state.delete(INTERESTS.key(self.interest))
            self._tell(None)
            return
        if not now.open:
            self._set_timer()
        self.save()

    def _set_timer(self) -> None:
        at = self._turn.now + max(self.now.keep, _UNUSED)
        self._turn.set_timer(at, Timer(INTEREST, self.interest))
        self.now = replace(self.now, timer=at)

    def save(self) -> None:
        """Put the state, if it has changed."""
        if self.now != self._known or not self._known.lanes:
            self._turn.state.put(INTERESTS.key(self.interest), self.now)

    def _is_answered(self) -> bool:
        """Return whether all lanes have said something since they were asked, though it may be about an earlier question."""
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
    return lane.since if now < lane.at + lane.keep else max(lane.since, now - lane.keep)
