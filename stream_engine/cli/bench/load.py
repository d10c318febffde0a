"""What one worker does under load, and how long a run and a step take when there is none."""

import time
from collections.abc import Iterator
from typing import Final

import msgspec

from stream_engine.cli.bench.figure import Figure, latency, rss_bytes, tick
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.bench.kafka import Tail, flood, raw_loop, throughput
from stream_engine.cli.output import say
from stream_engine.shell import clients

_SAMPLES: Final = 300
_MESSAGE_BYTES: Final = [100, 190, 260, 110, 160, 150]
"""What a one-step run puts on Kafka, about: event, command's share, journal's share, and three records of history."""


def measure(ground: Ground, runs: int) -> Iterator[Figure]:
    """Yield how many runs, steps and events one worker gets done, and latencies of runs one at a time."""
    settings = ground.settings
    worker = ground.worker("only")
    load = _Load(ground)
    yield from load.measure(runs)
    yield Figure("memory of the worker (RSS)", rss_bytes([worker.pid]) / 2**20, "MiB")
    load.close()
    worker.stop()
    raw = raw_loop(settings, clients.admin(settings), f"{ground.names.app}.raw", _MESSAGE_BYTES, runs)
    yield Figure("raw loop: produce and consume the same messages", runs / (raw.produce + raw.consume), "runs/s")


class _Load:
    """Load on one app, and how long it takes."""

    def __init__(self, ground: Ground) -> None:
        self._events = ground.names.events
        self._partitions = ground.settings.partitions
        self._producer = clients.producer(ground.settings)
        self._ends = Tail(ground.settings, ground.names.history, self._partitions)

    def measure(self, runs: int) -> Iterator[Figure]:
        """Yield all figures that one worker gives."""
        say("warming up")
        self._throughput("bench/five", 2_000)
        say(f"{runs} runs of one step")
        yield Figure("one-step runs", self._throughput("bench/one", runs), "runs/s")
        say(f"{runs // 5} runs of five steps")
        yield Figure("steps, in runs of five", self._throughput("bench/five", runs // 5) * 5, "steps/s")
        say(f"{runs * 5} events that no function wants")
        yield Figure("events that match nothing, passed over", self._passed_over(runs * 5), "events/s")
        say(f"{_SAMPLES} runs, one at a time")
        one = [self._one("bench/one") for _ in range(_SAMPLES)]
        five = [self._one("bench/five") for _ in range(_SAMPLES)]
        yield from latency("start: event sent to function begun", (run[1] - run[0] for run in one))
        yield from latency("result: event sent to result seen", (run[-1] - run[0] for run in one))
        yield from latency("a step: begun to the next begun", ((run[-2] - run[2]) // 5 for run in five))

    def close(self) -> None:
        """Leave Kafka."""
        self._ends.close()

    def _throughput(self, event: str, count: int) -> float:
        return throughput(self._producer, self._events, event, count, self._ends)

    def _passed_over(self, count: int) -> float:
        began = time.monotonic()
        flood(self._producer, self._events, "bench/none", count)
        # What stands behind all of them in its partition, and does start a run, tells when they have been passed over.
        for partition in range(self._partitions):
            self._producer.produce(self._events, msgspec.json.encode({"name": "bench/one"}), partition=partition)
        self._producer.flush()
        self._ends.take(self._partitions)
        return count / (time.monotonic() - began)

    def _one(self, event: str) -> list[int]:
        """Return when one run's event was sent, the times that it returned, and when that was seen."""
        sent = tick()
        self._producer.produce(self._events, msgspec.json.encode({"name": event}))
        self._producer.poll(0)
        [ended] = self._ends.take(1)
        seen = tick()
        self._producer.flush()
        return [sent, *self._ends.times(ended), seen]
