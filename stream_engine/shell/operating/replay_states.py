"""How far replays are, as operators see it: by history, and once all seems to be over, by what may still be on its way."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from stream_engine.core.routing import rewound
from stream_engine.core.routing.replay import (
    ACTIVE,
    PAUSED,
    Counts,
    Found,
    Replay,
    Tally,
    completed,
    seems_over,
    waits_for,
)
from stream_engine.shell import clients, topics
from stream_engine.shell.control import Control, ControlError
from stream_engine.shell.history.reader import HistoryReader, Span
from stream_engine.shell.operating import replaying
from stream_engine.shell.operating.group_offsets import members
from stream_engine.shell.operating.resting import on_its_way
from stream_engine.shell.operating.rewinds import Rewinds
from stream_engine.shell.routing.replays import EXPIRED, ROUTED
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_REST_SECONDS: Final = 5.0
_GOES_ON: Final = frozenset({ACTIVE, PAUSED})


class Seen(NamedTuple):
    """A replay as it is now, its counts, and what it waits for, if it goes on."""

    replay: Replay
    counts: Counts
    waiting_on: str | None


class States:
    """Looks at replays of an app, whose control topic has been read."""

    def __init__(
        self, settings: Settings, names: Names, topics: Sequence[str], control: Control, rewinds: Rewinds
    ) -> None:
        """``topics`` are those with events."""
        self._settings = settings
        self._names = names
        self._topics = topics
        self._rewinds = rewinds
        self._routed = control.values(ROUTED).keys()
        self._control = control
        self._admin = clients.admin(settings)
        self._tally = Tally()
        self._read_to: Mapping[int, int] = {}

    def of(self, replays: Sequence[Replay]) -> list[Seen]:
        """Return how far replays are. That one is completed is written down, so that it stays so whatever comes later.

        Raises:
            UserError: history cannot be read.
            KafkaException: Kafka does not answer.
        """
        if not replays:
            return []
        since = min(one.created_at for one in replays)
        self._read(since)
        counts = {one.id: self._counts(one) for one in replays}
        over = [one for one in replays if self._seems_over(one, counts[one.id])]
        on_the_way = on_its_way(self._settings, self._names, self._topics, _REST_SECONDS) if over else None
        ended = set[str]()
        if over and on_the_way is None:
            self._read(since)
            # What runs have sent that were told of before is known by now: if it has begun no run, none is to come.
            for one in over:
                now = self._counts(one)
                if now.runs == counts[one.id].runs and self._seems_over(one, now):
                    ended.add(one.id)
                counts[one.id] = now
        return [self._seen(one, counts[one.id], is_over=one.id in ended, on_the_way=on_the_way) for one in replays]

    def _counts(self, replay: Replay) -> Counts:
        counts = self._tally.of(replay)
        # Of a rewind nobody knows how many of its events are for any function.
        return replace(counts, routed=self._rewinds.routed(replay.id)) if replay.id in self._rewinds else counts

    def _seems_over(self, replay: Replay, counts: Counts) -> bool:
        return replay.state in _GOES_ON and seems_over(replay, counts, routed=replay.id in self._routed)

    def _seen(self, replay: Replay, counts: Counts, *, is_over: bool, on_the_way: str | None) -> Seen:
        if is_over:
            gone = self._control.values(f"{EXPIRED}{replay.id}/").values()
            replay = completed(replay, counts, sum(map(int, gone)))
            # Who may only read is told the same, and has to wait for it each time.
            with contextlib.suppress(ControlError):
                if replay.id in self._rewinds:
                    self._rewinds.complete(self._names, replay.id)
                else:
                    replaying.save(self._settings, self._names, replay)
        if replay.state != ACTIVE:
            return Seen(replay, counts, None)
        workers = members(self._admin, self._names.leader_group)
        if replay.id in self._rewinds:
            left = max(counts.runs - counts.ended, counts.pending)
            return Seen(replay, counts, rewound.waits_for(replay.events - counts.routed, left, workers, on_the_way))
        found = Found(
            replay.id in self._routed,
            workers,
            members(self._admin, self._names.replay_group(replay.id)),
            topics.topic_id(self._admin, replay.topic) != replay.topic_id,
        )
        return Seen(replay, counts, waits_for(replay, counts, found, on_the_way))

    def _read(self, since: int) -> None:
        """Read history to where it ends now, from a time on or from where it has been read to."""
        with HistoryReader(self._settings, self._names.app) as reader:
            span = reader.span(reader.partitions(), since)
            start = {number: max(offset, self._read_to.get(number, 0)) for number, offset in span.start.items()}
            for batch in reader.read(Span(start, span.end)):
                for entry in batch:
                    self._tally.add(entry.record)
            self._read_to = span.end
