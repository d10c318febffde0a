"""What age does to an app: its disk, its topics, its memory, and how soon a worker serves, each time that a fifth of its steps is done."""

import shutil
import time
from collections.abc import Iterator
from typing import Final

from stream_engine.cli.bench.figure import Figure, rss_bytes
from stream_engine.cli.bench.ground import BenchWorker, Ground
from stream_engine.cli.bench.kafka import Tail, throughput
from stream_engine.cli.output import say
from stream_engine.shell import clients

_PARTS: Final = 5
_STEPS: Final = 5
"""Of each run."""


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield how an app is after each fifth of ``count`` steps."""
    settings, names = ground.settings, ground.names
    producer = clients.producer(settings)
    worker = ground.worker("only")
    ends = Tail(settings, names.history, settings.partitions)
    runs = count // _PARTS // _STEPS
    for part in range(1, _PARTS + 1):
        after = f"after {part * runs * _STEPS:,} steps"
        say(f"{after}, which begin now")
        rate = throughput(producer, names.events, "bench/five", runs, ends) * _STEPS
        yield Figure(f"{after}: steps of the last part", rate, "steps/s")
        yield Figure(f"{after}: memory of the worker (RSS)", rss_bytes([worker.pid]) / 2**20, "MiB")
        for topic in (names.journal, names.commands, names.state):
            yield Figure(f"{after}: kept in {topic.partition('.')[2]}", _kept(ground, topic), "records")
        worker.stop()
        size = sum(path.stat().st_size for path in ground.folder("only").rglob("*") if path.is_file())
        yield Figure(f"{after}: the worker's disk", size / 2**20, "MiB")
        worker, seconds = _again(ground)
        yield Figure(f"{after}: started to ready, with its disk", seconds, "s")
        worker.stop()
        shutil.rmtree(ground.folder("only"))
        worker, seconds = _again(ground)
        yield Figure(f"{after}: started to ready, without its disk", seconds, "s")


def _again(ground: Ground) -> tuple[BenchWorker, float]:
    began = time.monotonic()
    return ground.worker("only"), time.monotonic() - began


def _kept(ground: Ground, topic: str) -> int:
    """Return how many records a topic still holds."""
    consumer = clients.reader(ground.settings)
    kept = sum(len(clients.offsets(consumer, topic, number)) for number in range(ground.settings.partitions))
    consumer.close()
    return kept
