"""What live runs notice of replays: how long a function takes to begin for a live event, beside one replay and beside three."""

import time
import uuid
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from stream_engine.cli.bench.figure import Figure, latency, tick
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.bench.kafka import Tail, flood
from stream_engine.cli.bench.pings import Pings
from stream_engine.cli.output import say
from stream_engine.core.records.history import RunEnded
from stream_engine.core.routing.replay import ACTIVE, CANCELLED, PER_SECOND, Replay
from stream_engine.shell import clients, topics
from stream_engine.shell.clock import now_ms
from stream_engine.shell.operating import replaying

_SECONDS: Final = 15.0
_QUIET_SECONDS: Final = 10.0
_UNLIMITED: Final = 1_000_000
_CASES: Final = ((1, 0), (3, 0), (1, 1_000), (3, 1_000), (1, _UNLIMITED), (3, _UNLIMITED))
"""How many replays side by side, and how many events a second each of them begins at most; 0 for what all of them have together."""


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield how long a live event takes to begin its run, before and beside replays of ``count`` one-step runs, and how many of these there are a second."""
    ground.worker("only")
    producer, topic = clients.producer(ground.settings), ground.names.events
    ends = Tail(ground.settings, ground.names.history, ground.settings.partitions)
    since = now_ms()
    say(f"{count} runs of one step, to be replayed")
    flood(producer, topic, "bench/one", count)
    ends.take(count)
    ends.close()
    with Pings(ground.settings, topic) as pings:
        pings.await_all()
        quiet = tick()
        time.sleep(_QUIET_SECONDS)
        yield from latency("live event sent to begun, before", pings.latencies(quiet, tick()))
        for replays, pace in _CASES:
            yield from _Beside(ground, pings, replays, pace).measure(since, count)


class _Beside:
    """Some replays side by side, for a while."""

    def __init__(self, ground: Ground, pings: Pings, replays: int, pace: int) -> None:
        self._ground = ground
        self._pings = pings
        self._replays = replays
        self._pace = pace
        self._ends = Tail(ground.settings, ground.names.history, ground.settings.partitions)

    def measure(self, since: int, count: int) -> Iterator[Figure]:
        """Yield what live events, and the replays, come to meanwhile."""
        each = "without a limit" if self._pace == _UNLIMITED else f"{self._pace}/s each"
        pace = each if self._pace else f"{PER_SECOND}/s together, which is the default"
        beside = f"{self._replays} {'replay' if self._replays == 1 else 'replays'}, {pace}"
        say(beside)
        made = [self._make(since, count) for _ in range(self._replays)]
        self._take(1)
        began, until = tick(), time.monotonic() + _SECONDS
        left = count * self._replays - 1
        while left > 0 and time.monotonic() < until:
            left -= self._take(1)
        ended = tick()
        done = count * self._replays - 1 - left
        for one in made:
            replaying.save(self._ground.settings, self._ground.names, replace(one, state=CANCELLED))
        self._pings.await_all()
        yield from latency(f"live event sent to begun, beside {beside}", self._pings.latencies(began, ended))
        yield Figure(f"replayed runs of one step: {beside}", done / ((ended - began) / 1e9), "runs/s")
        self._ends.close()

    def _make(self, since: int, count: int) -> Replay:
        settings, names, now = self._ground.settings, self._ground.names, now_ms()
        spans = replaying.spans(settings, names.events, since, now, now)
        topic_id = topics.topic_id(clients.admin(settings), names.events)
        made = Replay(
            uuid.uuid4().hex[:12], "one-step", names.events, topic_id, since, now, spans, now, count, ACTIVE, self._pace
        )
        replaying.make(settings, names, made, None)
        return made

    def _take(self, most: int) -> int:
        """Return how many replayed runs have ended, once there is one."""
        found = 0
        while not found:
            records = map(self._ends.record, self._ends.take(most))
            found = sum(isinstance(one, RunEnded) and one.replay_id is not None for one in records)
        return found
