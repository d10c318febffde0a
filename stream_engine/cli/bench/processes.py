"""What several worker processes side by side get done, one after the other started as one worker with ``--processes``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stream_engine.cli.bench.figure import Figure, rss_bytes
from stream_engine.cli.bench.ground import BenchWorker, Ground
from stream_engine.cli.bench.kafka import Tail, throughput
from stream_engine.cli.output import say
from stream_engine.shell import clients

_PROCESSES: Final = (1, 2, 4)


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield how many one-step runs and steps 1, 2 and 4 processes get done in a second."""
    for processes in _PROCESSES:
        say(f"{processes} processes")
        worker = ground.worker(f"of-{processes}", options=("--processes", str(processes)))
        yield from _measure(ground, count, f"{processes} processes" if processes > 1 else "1 process")
        yield Figure(f"memory of {processes} (RSS)", rss_bytes(_pids(worker)) / 2**20, "MiB")
        worker.stop()


def _measure(ground: Ground, count: int, which: str) -> Iterator[Figure]:
    events, producer = ground.names.events, clients.producer(ground.settings)
    ends = Tail(ground.settings, ground.names.history, ground.settings.partitions)
    throughput(producer, events, "bench/five", count // 20, ends)
    yield Figure(f"{which}: one-step runs", throughput(producer, events, "bench/one", count, ends), "runs/s")
    steps = throughput(producer, events, "bench/five", count // 5, ends) * 5
    yield Figure(f"{which}: steps, in runs of five", steps, "steps/s")
    ends.close()


def _pids(worker: BenchWorker) -> list[int]:
    """Return a worker's process, and those that it has started."""
    tasks = Path(f"/proc/{worker.pid}/task").glob("*/children")
    return [worker.pid, *(int(pid) for task in tasks for pid in task.read_text().split())]
