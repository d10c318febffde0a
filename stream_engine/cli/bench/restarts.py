"""How much longer runs take while the workers that serve them are restarted, one after the other."""

import time
from collections.abc import Iterator
from typing import Final

from stream_engine.cli.bench.figure import Figure, latency, tick
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.bench.pings import Pings
from stream_engine.cli.output import say

_EVERY_SECONDS: Final = 0.01
_QUIET_SECONDS: Final = 10.0


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield how late runs of half a second end while each of ``count`` workers is stopped and started again."""
    names = [f"worker-{number}" for number in range(count)]
    workers = [ground.worker(name) for name in names]
    with Pings(ground.settings, ground.names.events, _EVERY_SECONDS, "bench/ride") as rides:
        rides.await_all()
        say(f"{1 / _EVERY_SECONDS:g} runs a second, for {_QUIET_SECONDS:g} s")
        quiet = tick()
        time.sleep(_QUIET_SECONDS)
        began = tick()
        for name, worker in zip(names, workers, strict=True):
            say(f"{name} is stopped and started again")
            worker.stop()
            ground.worker(name)
        ended = tick()
        rides.await_all()
    late = "a run of 5 steps, beyond its own half second"
    yield from latency(f"{late}, before", rides.latencies(quiet, began))
    during = rides.latencies(began, ended)
    yield from latency(f"{late}, during restarts", during)
    yield Figure(f"{late}, during restarts, most", max(during) / 1e6, "ms")
