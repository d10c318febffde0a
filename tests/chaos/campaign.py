"""Rounds of killing and pausing workers under load, and what the checker says in the end."""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from random import Random
from typing import Self
from uuid import uuid4

import click

from stream_engine.shell import localbroker
from stream_engine.shell.settings import CHECKPOINT_BYTES, Settings
from tests.chaos.load import Load
from tests.chaos.observed import Observed, Observer
from tests.chaos.verdict import figures, journals, missing, problems
from tests.workers import WorkerProcess, Workers

APP = f"{Path(__file__).with_name('app.py')}:engine"
PARTITIONS = 4
_QUIET_SECONDS = 180.0
_LOOK_SECONDS = 1.0
_FOLLOW_SECONDS = 0.2
_CHECKPOINT_BYTES = 1_000_000
"""How far a journal grows before it is trimmed: little, so that it is done many times."""
_STARTS = 0.25
"""How many of the kills hit a worker that is just starting, ..."""
_START_SECONDS = 13.0
"""... which takes as long: the session of its predecessor has to end first."""
_PAUSES = 0.3
"""How many of the rounds pause a worker instead of killing it, where another can take over, ..."""
_PAUSE_SECONDS = 20.0
"""... for as long as this at most: half of them outlast the session."""


@dataclass
class Outcome:
    """What became of a campaign."""

    figures: dict[str, int]
    problems: list[str]


@dataclass
class Campaign:
    """An app under load, and the workers that serve it and get killed. Use it in a ``with``."""

    settings: Settings
    folder: Path
    seed: int
    per_second: float = 80.0
    name: str = field(default_factory=lambda: f"chaos-{uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        notes = self.folder / "notes"
        notes.mkdir(parents=True)
        self.settings = replace(self.settings, state_dir=self.folder / "state", partitions=PARTITIONS)
        self.servers = str(self.settings.bootstrap_servers)
        self.notes = notes
        self.random = Random(self.seed)
        self.workers = Workers(
            APP,
            self.settings,
            {"CHAOS_APP": self.name, "CHAOS_NOTES": str(notes), CHECKPOINT_BYTES: str(_CHECKPOINT_BYTES)},
        )
        self.zombies: set[int] = set()
        self.load = Load(self.servers, f"{self.name}.events", self.per_second, self.seed)
        self._following: threading.Thread | None = None
        self._finishing = threading.Event()
        self._quiet_seconds = _QUIET_SECONDS
        self._seen: Observed | None = None
        self._noted: dict[Path, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.load.is_alive():
            self.load.stop()
        self._quiet_seconds = 0.0
        self._end_observing()
        self.workers.__exit__(*error)

    def begin(self, workers: int) -> list[WorkerProcess]:
        """Start workers, and once they serve, the load."""
        started = [self.workers.start() for _ in range(workers)]
        for worker in started:
            worker.ready()
        self._following = threading.Thread(target=self._observe, name="observer")
        self._following.start()
        self.load.start()
        return started

    def worked(self, bodies: int) -> None:
        """Wait until step bodies have begun that had not when this was called."""
        begun = self._count_notes() + bodies
        deadline = time.monotonic() + _QUIET_SECONDS
        while self._count_notes() < begun:
            assert time.monotonic() < deadline, "nothing is executed:\n" + self.talk()
            time.sleep(0.05)

    def some_moment(self, seconds: float) -> None:
        """Let a random time pass: what is about to be killed is not to be waited for."""
        threading.Event().wait(self.random.uniform(0, seconds))

    def pause(self, worker: WorkerProcess) -> None:
        """Let a worker do nothing for a random time, while the others go on; it does not notice."""
        self.zombies.add(worker.pid)
        worker.pause()
        self.some_moment(_PAUSE_SECONDS)
        worker.resume()

    def finish(self) -> Outcome:
        """Send no more, wait until everything is answered, and judge."""
        self.load.stop()
        self._end_observing()
        assert self._seen is not None, "the observer failed; see above"
        return Outcome(figures(self._seen), problems(self._seen))

    def talk(self) -> str:
        """What all workers have said."""
        return "\n".join(f"worker {worker.pid}:\n{worker.talk}" for worker in self.workers.all)

    def _observe(self) -> None:
        with Observer(self.servers, self.name, self.notes) as observer:
            while not self._finishing.wait(_FOLLOW_SECONDS):
                observer.follow()
            deadline = time.monotonic() + self._quiet_seconds
            while True:
                seen = observer.look(self.load.sent, frozenset(self.zombies))
                unfinished = chain(missing(seen), journals(seen))
                if next(unfinished, None) is None or time.monotonic() > deadline:
                    self._seen = seen
                    return
                time.sleep(_LOOK_SECONDS)

    def _end_observing(self) -> None:
        self._finishing.set()
        if self._following is not None:
            self._following.join()

    def _count_notes(self) -> int:
        """Return how many notes there are, reading only what is new."""
        for path in self.notes.glob("*.jsonl"):
            at, lines = self._noted.get(path, (0, 0))
            with path.open("rb") as file:
                file.seek(at)
                new = file.read()
            self._noted[path] = (at + len(new), lines + new.count(b"\n"))
        return sum(lines for _, lines in self._noted.values())


def rounds_of_chaos(campaign: Campaign, rounds: int, workers: int) -> Outcome:
    """Kill a worker at a random moment and start another, or pause one of several, again and again; then judge."""
    living = campaign.begin(workers)
    for number in range(1, rounds + 1):
        if campaign.random.random() < _STARTS:
            campaign.some_moment(_START_SECONDS)
        else:
            for worker in living:
                worker.ready()
            campaign.worked(20)
            campaign.some_moment(3.0)
        victim = campaign.random.choice(living)
        assert victim.alive, f"worker {victim.pid} has ended by itself:\n{victim.talk}"
        if workers > 1 and campaign.random.random() < _PAUSES:
            what = "paused"
            campaign.pause(victim)
        else:
            what = "killed"
            living.remove(victim)
            victim.kill()
            living.append(campaign.workers.start())
        click.echo(f"round {number}: {what} worker {victim.pid}, {campaign.load.produced} messages so far", err=True)
    outcome = campaign.finish()
    if any(not worker.alive for worker in living):
        outcome.problems.append("a worker has ended by itself:\n" + campaign.talk())
    return outcome


@contextmanager
def a_broker(folder: Path) -> Iterator[Settings]:
    """The broker that the environment names, or one of our own."""
    settings = replace(Settings.from_env(), state_dir=folder)
    if settings.bootstrap_servers is not None:
        yield settings
        return
    localbroker.start(settings, port=0)
    try:
        yield localbroker.connected(settings)
    finally:
        localbroker.stop(settings)


def main() -> int:
    """The command; see ``python -m tests.chaos --help``."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Kill and pause workers under load, and check."
    )
    parser.add_argument("--rounds", type=int, default=20, help="how many kills and pauses")
    parser.add_argument("--workers", type=int, default=1, help="how many workers serve at a time")
    parser.add_argument("--seed", type=int, default=1, help="for when to kill whom, and what to send")
    parser.add_argument("--per-second", type=float, default=80.0, help="how many messages to send")
    parser.add_argument("--log", type=Path, help="a file for what the workers said")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="stream-engine-chaos-") as scratch,
        a_broker(Path(scratch)) as settings,
        Campaign(settings, Path(scratch) / "rounds", given.seed, given.per_second) as campaign,
    ):
        outcome = rounds_of_chaos(campaign, given.rounds, given.workers)
        if given.log:
            given.log.write_text(campaign.talk(), encoding="utf-8")
    for what, count in {"rounds": given.rounds, "workers": given.workers, **outcome.figures}.items():
        click.echo(f"{what:24}{count:>9,}")
    for problem in outcome.problems[:100]:
        click.echo(problem)
    click.echo(f"{len(outcome.problems)} problems")
    return 1 if outcome.problems else 0
