"""The command: a worker of the bench app in a process of its own, load from this one, and a line for each figure."""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from stream_engine.cli.bench import burst as bursts
from stream_engine.cli.bench.app import APP_VARIABLE, tick
from stream_engine.cli.bench.figure import Figure, latency, rss_bytes
from stream_engine.cli.bench.kafka import Ends, flood, raw_loop
from stream_engine.cli.output import print_json, say
from stream_engine.shell import clients, topics
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.settings import BOOTSTRAP_SERVERS, STATE_DIR, Settings

_MESSAGE_BYTES = [100, 190, 260, 110, 160, 150]
"""What a one-step run puts on Kafka, about: event, command's share, journal's share, and three records of history."""


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
@click.option(
    "--burst",
    type=click.IntRange(1_000),
    help="Measure this instead: so many events at once on a function that is slow.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def bench(runs: int, samples: int, burst: int | None, *, as_json: bool) -> None:
    """Measure what one worker process does here, with default settings, broker and load on the same machine."""
    settings = connected(Settings.from_env())
    app = f"bench-{uuid.uuid4().hex[:8]}"
    names = topics.Names.of(app)
    with _worker(settings, app) as pid:
        if burst is None:
            figures = list(_measure(settings, names, runs, samples))
            figures.append(Figure("memory of the worker (RSS)", rss_bytes([pid]) / 2**20, "MiB"))
        else:
            figures = list(bursts.measure(settings, names.events, [pid], burst))
    admin = clients.admin(settings)
    for future in admin.delete_topics([topic.name for topic in topics.wanted(names, 1)]).values():
        future.result()
    if burst is None:
        raw = raw_loop(settings, admin, f"{app}.raw", _MESSAGE_BYTES, runs)
        seconds = raw.produce + raw.consume
        figures.append(Figure("raw loop: produce and consume the same messages", runs / seconds, "runs/s"))
    if as_json:
        print_json(figures)
        return
    for figure in figures:
        click.echo(f"{figure.name:65} {figure.value:12,.2f} {figure.unit}")


def _measure(settings: Settings, names: topics.Names, runs: int, samples: int) -> Iterator[Figure]:
    load = _Bench(settings, names)
    yield from load.measure(runs, samples)
    load.close()


class _Bench:
    """Load on one app, and how long it takes."""

    def __init__(self, settings: Settings, names: topics.Names) -> None:
        self._events = names.events
        self._partitions = settings.partitions
        self._producer = clients.producer(settings)
        self._ends = Ends(settings, names.history, settings.partitions)
        self._ended = self._ends.values()

    def measure(self, runs: int, samples: int) -> Iterator[Figure]:
        """Yield all figures that one worker gives."""
        say("warming up")
        self._throughput("bench/five", 2_000)
        say(f"{runs} runs of one step")
        yield Figure("one-step runs", self._throughput("bench/one", runs), "runs/s")
        say(f"{runs // 5} runs of five steps")
        yield Figure("steps, in runs of five", self._throughput("bench/five", runs // 5) * 5, "steps/s")
        say(f"{runs * 5} events that no function wants")
        yield Figure("events that match nothing, passed over", self._passed_over(runs * 5), "events/s")
        say(f"{samples} runs, one at a time")
        one = [self._one("bench/one") for _ in range(samples)]
        five = [self._one("bench/five") for _ in range(samples)]
        yield from latency("start: event sent to function begun", (run[1] - run[0] for run in one))
        yield from latency("result: event sent to result seen", (run[-1] - run[0] for run in one))
        yield from latency("a step: begun to the next begun", ((run[-2] - run[2]) // 5 for run in five))

    def close(self) -> None:
        """Leave Kafka."""
        self._ends.close()

    def _throughput(self, event: str, count: int) -> float:
        # From the first event sent to the last end seen: nothing that the engine still owes is left out.
        began = time.monotonic()
        flood(self._producer, self._events, event, count)
        self._await_ends(count)
        return count / (time.monotonic() - began)

    def _passed_over(self, count: int) -> float:
        began = time.monotonic()
        flood(self._producer, self._events, "bench/none", count)
        # What stands behind all of them in its partition, and does start a run, tells when they have been passed over.
        for partition in range(self._partitions):
            self._producer.produce(self._events, msgspec.json.encode({"name": "bench/one"}), partition=partition)
        self._producer.flush()
        self._await_ends(self._partitions)
        return count / (time.monotonic() - began)

    def _await_ends(self, count: int) -> None:
        while count > 0:
            count -= len(next(self._ended))

    def _one(self, event: str) -> list[int]:
        """Return when one run's event was sent, the times that it returned, and when that was seen."""
        sent = tick()
        self._producer.produce(self._events, msgspec.json.encode({"name": event}))
        self._producer.poll(0)
        batch: list[bytes] = []
        while not batch:
            batch = next(self._ended)
        seen = tick()
        self._producer.flush()
        return [sent, *self._ends.times(batch[0]), seen]


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
