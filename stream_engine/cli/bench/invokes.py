"""How long a function waits for another one that does nothing: one at a time, and when many call at once."""

import time
from collections.abc import Iterator
from typing import Final

import msgspec

from stream_engine.cli.bench.figure import Figure, latency
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.bench.kafka import Tail, flood, throughput
from stream_engine.cli.output import say
from stream_engine.shell import clients

_SAMPLES: Final = 300
_BOTH: Final = 2
"""How many runs end for each call: the one that calls, and the one that is called."""


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield how long a call takes, and how many of ``count`` that begin together are done in a second."""
    settings, topic = ground.settings, ground.names.events
    ground.worker("only")
    producer = clients.producer(settings)
    ends = Tail(settings, ground.names.history, settings.partitions)
    say("warming up")
    throughput(producer, topic, "bench/five", 2_000, ends)
    say(f"{_SAMPLES} calls, one at a time")
    waits = []
    for _ in range(_SAMPLES):
        producer.produce(topic, msgspec.json.encode({"name": "bench/call"}))
        producer.flush()
        waits += [times[1] - times[0] for times in map(ends.times, ends.take(_BOTH)) if len(times) == _BOTH]
    yield from latency("a call: asked for to answered", waits)
    say(f"{count} calls, at once")
    began = time.monotonic()
    flood(producer, topic, "bench/call", count)
    ends.take(_BOTH * count)
    yield Figure("calls, with the runs on both sides", count / (time.monotonic() - began), "calls/s")
    ends.close()
