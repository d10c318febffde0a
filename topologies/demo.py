"""The shop on a real Kafka, with a kill -9 in the middle. `demo.sh` starts this; it prints what it does as it goes.

It counts from the outside: `<app>.history` says what was recorded, and a line that the shop writes at the beginning of
each step's body (SHOP_AUDIT) says what was really executed.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from confluent_kafka import Producer
from rich.console import Console

from stream_engine.cli.timeline import draw
from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted, StepRecorded
from stream_engine.core.views.caused import Place
from stream_engine.core.views.runs import RunIndex
from stream_engine.shell import localbroker
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.dead_letters import DeadLetter, DeadLetterReader
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Entry
from stream_engine.shell.history.reader import HistoryReader, everything
from stream_engine.shell.settings import BOOTSTRAP_SERVERS, PREFIX, STATE_DIR, Settings

HERE: Final = Path(__file__).parent
APP: Final = "shop"
ORDERS_PER_SECOND: Final = 40
KILL_AFTER: Final = 110  # of the 200 lines
READY_SECONDS: Final = 60.0
SETTLED_BEFORE_KILL: Final = 40
PATIENCE_SECONDS: Final = 40.0
STOP_SECONDS: Final = 20.0

_console = Console(highlight=False, soft_wrap=True)
say = _console.print


class Worker:
    """A worker in a process of its own, which can be killed and started again."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        # Settings of the user's are about brokers of the user's.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        own = {
            BOOTSTRAP_SERVERS: str(settings.bootstrap_servers),
            STATE_DIR: str(settings.state_dir),
            "SHOP_AUDIT": str(folder / "audit"),
        }
        self.log = folder / "worker.log"
        self._env = inherited | own
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id; 0 if none was started."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, without waiting until it serves."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream_engine.cli.main", "worker", f"{HERE / 'shop.py'}:engine"],
                cwd=HERE.parent,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Wait until it says that it serves.

        Raises:
            UserError: it ends, or takes too long; its log says why.
        """
        assert self._process is not None
        deadline = monotonic() + READY_SECONDS
        while b"\nready\n" not in b"\n" + self.log.read_bytes():
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                if monotonic() < deadline:
                    continue
            raise UserError(f"the worker does not serve. Its log:\n{self.log.read_text(errors='replace')}")

    def kill(self) -> None:
        """Kill it as a power cut would: no signal handler runs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


class Told:
    """What history and the dead letters have told so far."""

    def __init__(self) -> None:
        self.index = RunIndex()
        self.started: dict[str, str] = {}
        self.ended: dict[str, RunEnded] = {}
        self.duplicates: Counter[str] = Counter()
        self.letters: dict[Place, DeadLetter] = {}
        self.attempts: set[tuple[str, str, int]] = set()
        self.results: Counter[tuple[str, str]] = Counter()
        self._known: set[str] = set()

    def take(self, entry: Entry) -> None:
        """Take a record of history; one that is told again counts once."""
        record = entry.record
        self.index.add(entry.id, record)
        if entry.id in self._known:
            return
        self._known.add(entry.id)
        match record:
            case RunStarted():
                self.started[record.run_id] = record.function
            case RunEnded():
                self.ended[record.run_id] = record
            case StepRecorded():
                self.attempts.add((record.run_id, record.step_id, record.attempt))
                self.results[record.run_id, record.step_id] += record.status == "completed"
            case EventDisposed(disposition="duplicate", function=function):
                self.duplicates[function] += 1
            case _:
                pass

    def under_way(self) -> list[str]:
        """Return the runs that have begun and not ended."""
        return [run for run in self.started if run not in self.ended]

    def count(self, function: str, status: str | None = None) -> int:
        """Return how many runs of a function have begun, or have ended with a status."""
        if status is None:
            return sum(name == function for name in self.started.values())
        return sum(run.function == function and run.status == status for run in self.ended.values())

    def is_complete(self, lines: int, unwanted: int) -> bool:
        """Whether every line has come to something, and so has every event that the runs have sent."""
        settled, failed = self.count("process-order", "completed"), self.count("process-order", "failed")
        orders = self.count("process-order") + self.duplicates["process-order"] + len(self.letters) + unwanted
        follow = (self.count("remind"), self.count("send-receipt"), self.count("process-order:on_failure"))
        return orders == lines and follow == (settled, settled, failed) and not self.under_way()


class Demo:
    """The show. `run` gives its steps in order."""

    def __init__(self, settings: Settings, worker: Worker, folder: Path) -> None:
        self._settings = settings
        self._worker = worker
        self._audit = folder / "audit"
        self._lines = (HERE / "orders.jsonl").read_bytes().splitlines()
        self._unwanted = sum(b'"cart/viewed"' in line for line in self._lines)
        self._told = Told()
        self._sent = 0
        self._said = ""
        self._interrupted: list[str] = []
        self._recorded: set[tuple[str, str, int]] = set()
        self._audited = 0

    def run(self) -> bool:
        """Send the orders, kill the worker and start it again, and say what came of it; return whether all is right.

        Raises:
            UserError: it does not come to an end.
        """
        say(f"[bold]3 orders[/]    {len(self._lines)} lines of topologies/orders.jsonl, {ORDERS_PER_SECOND} a second")
        producer = Producer({"bootstrap.servers": self._settings.bootstrap_servers})
        began = spoken = monotonic()
        with HistoryReader(self._settings, APP) as history, DeadLetterReader(self._settings, APP) as letters:
            start = history.span(history.partitions()).start
            for batch in history.follow(start, everything, PATIENCE_SECONDS):
                for entry in batch:
                    self._told.take(entry)
                # A router that dies before it has committed buries a message again; its origin says that it is the same.
                self._told.letters.update((letter.origin, letter) for letter in letters.take())
                elapsed = monotonic() - began
                self._send(producer, int(elapsed * ORDERS_PER_SECOND))
                if not self._interrupted and self._sent >= KILL_AFTER and self._settled() >= SETTLED_BEFORE_KILL:
                    self._kill()
                done = self._told.is_complete(len(self._lines), self._unwanted)
                if done or monotonic() - spoken >= 1:
                    spoken = monotonic()
                    self._report(elapsed)
                if done:
                    return self._sum_up()
        raise UserError(f"not done after {PATIENCE_SECONDS:g} s. The worker's log:\n{self._worker.log.read_text()}")

    def _settled(self) -> int:
        return self._told.count("process-order", "completed")

    def _send(self, producer: Producer, due: int) -> None:
        """Send the lines that are due, as they are: any Kafka client can."""
        for line in self._lines[self._sent : due]:
            producer.produce(f"{APP}.events", line)
        self._sent = min(due, len(self._lines))
        producer.poll(0)

    def _kill(self) -> None:
        self._worker.kill()
        # All that the dead worker has told, of which `follow` may have seen less so far; what it sees again counts once.
        with HistoryReader(self._settings, APP) as history:
            for batch in history.read(history.span(history.partitions())):
                for entry in batch:
                    self._told.take(entry)
        self._interrupted = self._told.under_way()
        # What history has told by now is recorded for good, and must not be executed once more.
        self._recorded = set(self._told.attempts)
        self._audited = len(self._executions())
        say(
            f"[bold red]4 kill -9[/]   process {self._worker.pid} is gone, with {len(self._interrupted)} runs under way"
        )
        self._worker.start()
        say(
            f"[bold]5 worker[/]    started again as process {self._worker.pid}; "
            f"Kafka gives the dead one 10 s to come back, then its runs go on"
        )

    def _report(self, elapsed: float) -> None:
        """Say how far everything is, unless that is what was said last."""
        told = self._told
        line = (
            f"ordered {self._sent:3}   settled {self._settled():3}   under way {len(told.under_way()):3}   "
            f"ended {len(told.ended):3}   dead letters {len(told.letters)}"
        )
        if line != self._said:
            self._said = line
            say(f"  {elapsed:5.1f} s   {line}")

    def _executions(self) -> list[tuple[str, str, int]]:
        lines = (line.split(" ") for line in self._audit.read_text().splitlines())
        return [(run, " ".join(step), int(attempt)) for run, *step, attempt in lines]

    def _sum_up(self) -> bool:
        told, executions = self._told, self._executions()
        repeated = sum(count - 1 for count in Counter(executions).values())
        again = sum(execution in self._recorded for execution in executions[self._audited :])
        twice = sum(count > 1 for count in told.results.values())
        say("\n[bold]What came of it[/]")
        for function in dict.fromkeys(told.started.values()):
            failed = told.count(function, "failed")
            note = f", {failed} failed (fraud, found by a step)" if failed else ""
            say(f"  {function:24} {told.count(function, 'completed'):3} runs completed{note}")
        say(f"  {'runs lost':24} {len(told.under_way()):3} of the {len(self._interrupted)} that the kill interrupted")
        say(f"  {'steps recorded':24} {sum(told.results.values()):3}, run twice: {again + twice}")
        say(f"  {'steps cut off':24} {repeated:3}: begun, not recorded, so begun again with the same idempotency key")
        orders = told.duplicates["process-order"]
        say(f"  {'duplicate orders':24} {orders:3}, recognised by the event's id")
        say(f"  {'dead letters':24} {len(told.letters):3}, none of which stopped anything")
        for letter in sorted(told.letters.values(), key=lambda letter: letter.reason):
            say(f"    {letter.reason:14} {letter.detail}", markup=False)
        self._draw_one()
        return not again and not twice

    def _draw_one(self) -> None:
        """Draw the interrupted order that went through most."""
        runs = [
            run for id in self._interrupted if (run := self._told.index.get(id)) and run.function == "process-order"
        ]
        if runs:
            say("\n[bold]One of the runs that the kill interrupted[/], as `stream-engine runs show` draws it\n")
            for line in draw(max(runs, key=lambda run: len(run.steps)), now_ms(), min(_console.width, 100)):
                say(line)


@contextmanager
def _stage() -> Iterator[tuple[Settings, Worker, Path]]:
    """A folder, a broker and a worker, all of which are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="stream-engine-demo-"))
    bare = Settings(state_dir=folder)
    worker = None
    try:
        began = monotonic()
        found = localbroker.start(bare, port=0, say=partial(_console.print, style="dim"))
        kind = "in Docker" if found.container else f"process {found.pid}"
        say(f"[bold]1 broker[/]    Apache Kafka on {found.bootstrap_servers}, {kind} ({monotonic() - began:.1f} s)")
        settings = localbroker.connected(bare)
        worker = Worker(folder, settings)
        yield settings, worker, folder
    finally:
        if worker is not None:
            worker.stop()
        localbroker.stop(bare)
        shutil.rmtree(folder)
        say("\nNothing is left behind: worker and broker are stopped, their data is deleted.")


def main() -> int:
    """Run the demo; return its exit code."""
    try:
        with _stage() as (settings, worker, folder):
            began = monotonic()
            worker.start()
            worker.wait_until_ready()
            say(f"[bold]2 worker[/]    topologies/shop.py:engine, process {worker.pid} ({monotonic() - began:.1f} s)")
            return 0 if Demo(settings, worker, folder).run() else 1
    except UserError as error:
        say(f"Error: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
