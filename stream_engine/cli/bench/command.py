"""The command: a worker of the bench app in a process of its own, load from this one, and a line for each figure."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from stream_engine.cli.bench.app import APP_VARIABLE, tick
from stream_engine.cli.bench.kafka import Ends, flood, raw_loop
from stream_engine.cli.output import print_json, say
from stream_engine.shell import clients, topics
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.settings import BOOTSTRAP_SERVERS, STATE_DIR, Settings

_MESSAGE_BYTES = [100, 190, 260, 110, 160, 150]
"""What a one-step run puts on Kafka, about: event, command's share, journal's share, and three records of history."""


@dataclass(frozen=True)
class Figure:
    """One line of the report."""

    name: str
    value: float
    unit: str


@click.command()
@click.option(
    "--runs",
    type=click.IntRange(1_000),
    default=40_000,
    show_default=True,
    help="One-step runs, and a fifth as many of five steps.",
)
@click.option(
    "--samples", type=click.IntRange(10), default=200, show_default=True, help="Runs, one at a time, for latencies."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def bench(runs: int, samples: int, *, as_json: bool) -> None:
    """Measure what one worker process does here, with default settings, broker and load on the same machine."""
    settings = connected(Settings.from_env())
    app = f"bench-{uuid.uuid4().hex[:8]}"
    names = topics.Names.of(app)
    with _worker(settings, app) as pid:
        figures = list(_measure(settings, names, runs, samples))
        figures.append(Figure("memory of the worker (RSS)", _rss_bytes(pid) / 2**20, "MiB"))
    admin = clients.admin(settings)
    for future in admin.delete_topics([topic.name for topic in topics.wanted(names, 1)]).values():
        future.result()
    raw = raw_loop(settings, admin, f"{app}.raw", _MESSAGE_BYTES, runs)
    figures.append(
        Figure("raw loop: produce and consume the same messages", runs / (raw.produce + raw.consume), "runs/s")
    )
    if as_json:
        print_json(figures)
        return
    for figure in figures:
        click.echo(f"{figure.name:55} {figure.value:12,.2f} {figure.unit}")


def _measure(settings: Settings, names: topics.Names, runs: int, samples: int) -> Iterator[Figure]:
    producer = clients.producer(settings)
    ends = Ends(settings, names.history, settings.partitions)
    values = ends.values()

    def throughput(event: str, count: int) -> float:
        # From the first event sent to the last end seen: nothing that the engine still owes is left out.
        began, ended = time.monotonic(), 0
        flood(producer, names.events, event, count)
        while ended < count:
            ended += len(next(values))
        return count / (time.monotonic() - began)

    def one_at_a_time(event: str) -> list[list[int]]:
        sampled = []
        for _ in range(samples):
            sent = tick()
            producer.produce(names.events, msgspec.json.encode({"name": event}))
            producer.flush()
            batch: list[bytes] = []
            while not batch:
                batch = next(values)
            sampled.append([sent, *ends.times(batch[0]), tick()])
        return sampled

    say("warming up")
    throughput("bench/five", 2_000)
    say(f"{runs} runs of one step")
    yield Figure("one-step runs", throughput("bench/one", runs), "runs/s")
    say(f"{runs // 5} runs of five steps")
    yield Figure("steps, in runs of five", throughput("bench/five", runs // 5) * 5, "steps/s")
    say(f"{samples} runs, one at a time")
    one, five = one_at_a_time("bench/one"), one_at_a_time("bench/five")
    yield from _latency("start: event sent to function begun", one, lambda run: run[1] - run[0])
    yield from _latency("result: event sent to result seen", one, lambda run: run[-1] - run[0])
    yield from _latency("a step: begun to the next begun", five, lambda run: (run[-2] - run[2]) // 5)
    ends.close()


def _latency(name: str, runs: list[list[int]], measure: Callable[[list[int]], int]) -> Iterator[Figure]:
    times = sorted(measure(run) / 1e6 for run in runs)
    yield Figure(f"{name}, p50", statistics.median(times), "ms")
    yield Figure(f"{name}, p99", times[len(times) * 99 // 100], "ms")


@contextmanager
def _worker(settings: Settings, app: str) -> Iterator[int]:
    """Run a worker of the bench app in a process and a state folder of its own; the value is its process id."""
    with tempfile.TemporaryDirectory(prefix="stream-engine-bench-") as folder:
        environment = {
            **os.environ,
            APP_VARIABLE: app,
            STATE_DIR: folder,
            BOOTSTRAP_SERVERS: settings.bootstrap_servers or "",
        }
        target = "stream_engine.cli.bench.app:engine"
        command = [sys.executable, "-m", "stream_engine.cli.main", "worker", target]
        log = Path(folder) / "worker.log"
        with log.open("w") as output:
            process = subprocess.Popen(command, env=environment, stderr=output)
        try:
            while "ready" not in log.read_text().splitlines():
                if process.poll() is not None:
                    raise UserError(f"the worker ended at once:\n{log.read_text()}")
                time.sleep(0.05)
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def _rss_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
