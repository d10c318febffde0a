"""What a burst of events on a slow function does: to the worker's memory, and to how soon another function begins."""

import time
from collections.abc import Iterator
from typing import Final

from stream_engine.cli.bench.figure import Figure, latency, most_rss_bytes, rss_bytes, tick
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.bench.kafka import flood
from stream_engine.cli.bench.pings import Pings
from stream_engine.cli.output import say
from stream_engine.shell import clients

_BEFORE_SECONDS: Final = 5.0
_AFTERWARDS_SECONDS: Final = 30.0


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield what a burst of ``count`` events does to a worker."""
    pids = [ground.worker("only").pid]
    topic = ground.names.events
    producer = clients.producer(ground.settings)
    with Pings(ground.settings, topic) as pings:
        pings.await_all()
        say(f"before the burst, for {_BEFORE_SECONDS:g} s")
        quiet = tick()
        time.sleep(_BEFORE_SECONDS)
        before = rss_bytes(pids)
        say(f"{count} events on a function whose step takes a second")
        began = tick()
        flood(producer, topic, "bench/slow", count)
        for partition in range(ground.settings.partitions):
            pings.send(partition)
        pings.await_all()
        taken = tick()
        say(f"all are taken in; {_AFTERWARDS_SECONDS:g} s more")
        time.sleep(_AFTERWARDS_SECONDS)
        pings.await_all()
    yield Figure("events of a burst, taken in", count / ((taken - began) / 1e9), "events/s")
    start = "another function: event sent to begun"
    yield from latency(f"{start}, before", pings.latencies(quiet, began))
    yield from latency(f"{start}, while it is taken in", pings.latencies(began, taken))
    yield from latency(f"{start}, afterwards", pings.latencies(taken, tick()))
    yield Figure("memory of the worker (RSS), before", before / 2**20, "MiB")
    yield Figure("memory of the worker (RSS), most", most_rss_bytes(pids) / 2**20, "MiB")
