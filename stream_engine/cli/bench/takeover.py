"""How long nothing begins on a partition with much state when its leader goes: on purpose, killed, with and without a standby."""

import random
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Final

from stream_engine.cli.bench.figure import Figure, most_rss_bytes
from stream_engine.cli.bench.ground import BenchWorker, Ground
from stream_engine.cli.bench.kafka import Tail, send_all
from stream_engine.cli.bench.pings import Pings
from stream_engine.cli.output import say
from stream_engine.core.records.history import StepRecorded
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms

_EVENT_BYTES: Final = 4_096
_EVERY_SECONDS: Final = 0.01
_DAY_MS: Final = 86_400_000
_COPIED: Final = "a copy is kept, and has caught up"


def measure(ground: Ground, megabytes: int) -> Iterator[Figure]:
    """Yield how long events wait while the only partition, with so much state, goes from worker to worker."""
    takeover = _Takeover(ground)
    first = takeover.worker("first", standby=True)
    say(f"{megabytes} MiB of runs go to sleep")
    takeover.fill(megabytes * 2**20 // _EVENT_BYTES)
    size = sum(path.stat().st_size for path in ground.folder("first").rglob("*.sst"))
    yield Figure("state of the partition, on disk", size / 2**20, "MiB")
    with takeover.pings:
        yield from takeover.measure(first, size / 2**30)


class _Takeover:
    """A partition that is led by one worker after the other."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.pings = Pings(ground.settings, ground.names.events, _EVERY_SECONDS)

    def worker(self, state: str, *, standby: bool) -> BenchWorker:
        """Start a worker that can lead the partition, and keeps a copy of it or does not."""
        return self._ground.worker(state, STREAM_ENGINE_PARTITIONS="1", STREAM_ENGINE_STANDBYS="1" if standby else "0")

    def fill(self, count: int) -> None:
        """Have runs go to sleep for a day, each with an event of 4 KiB that hardly compresses."""
        settings, names = self._ground.settings, self._ground.names
        asleep = Tail(settings, names.history, 1, StepRecorded)
        filler = random.Random(0)
        until = now_ms() + _DAY_MS
        data = (
            {"until": until, "filler": b64encode(filler.randbytes(_EVENT_BYTES * 3 // 4)).decode()}
            for _ in range(count)
        )
        send_all(clients.producer(settings), names.events, "bench/sleep", data)
        asleep.take(count)
        asleep.close()

    def measure(self, first: BenchWorker, gigabytes: float) -> Iterator[Figure]:
        """Yield figures; ``first`` leads."""
        wait = "an event waits, at most, when the leader"
        self.pings.await_all()
        second, seconds = self._copied("second")
        yield Figure("a copy is made on an empty disk", seconds / gigabytes, "s/GiB")
        yield Figure("memory of the worker that has made it (RSS), most", most_rss_bytes([second.pid]) / 2**20, "MiB")
        yield self._figure(f"{wait} stops, with a standby", first.stop)
        third, _ = self._copied("third")
        yield self._figure(f"{wait} is killed, with a standby", second.kill)
        fourth = self.worker("fourth", standby=False)
        yield self._figure(f"{wait} stops, without a standby", third.stop)
        yield self._figure(f"{wait} is killed, and started again", lambda: self._again(fourth))

    def _copied(self, state: str) -> tuple[BenchWorker, float]:
        """Start a worker with an empty disk; return it, and how long it took until it had a copy."""
        say("a standby is started")
        worker = self.worker(state, standby=True)
        began = time.monotonic()
        worker.said(_COPIED)
        return worker, time.monotonic() - began

    def _again(self, worker: BenchWorker) -> None:
        worker.kill()
        self.worker("fourth", standby=False)

    def _figure(self, name: str, disturb: Callable[[], None]) -> Figure:
        say(name)
        return Figure(name, self.pings.longest(disturb), "s")
