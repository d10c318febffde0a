"""Runs that wait at one gate, by the thousand and by the million: what admitting one and letting one through costs as they become more.

The leader's own decisions over a real store on disk, without Kafka, so that nothing else is in the figures.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stream_engine.cli.bench.figure import Figure, rss_bytes
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.output import say
from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import Take
from stream_engine.core.partition.turn import Execute, Function, Rules
from stream_engine.core.records.journal import WRITES, Event, Gate
from stream_engine.core.records.origin import Logs, Origin
from stream_engine.core.records.requests import Admit, Asked, Commands
from stream_engine.core.stages.commands import FinishRun, Input
from stream_engine.shell.store import RocksStore, shared_memory

_ORIGIN: Final = Origin(Logs("bench", "journal", "commands", 1), 0)
_RULES: Final = Rules("bench", {"f": Function("f", ("1",))}, 1, "commands", "journal/0", 0)
_GATES: Final = {
    "concurrency": Gate("concurrency", "c" * 24, "f", "", 0, limit=10),
    "throttle": Gate("throttle", "t" * 24, "f", "", 0, limit=10, per=1_000),
}
_DATA: Final = b'{"order_id":"o-12345","email":"someone@example.com"}'
_NOW: Final = 1_790_000_000_000
_AT_ONCE: Final = 200
_LET_THROUGH: Final = 20_000


def measure(_: Ground, count: int) -> Iterator[Figure]:
    """Yield what a waiting run costs with a thousandth, a tenth and all of ``count`` runs at one gate."""
    for kind in _GATES:
        for waiting in sorted({max(count // 1_000, 100), max(count // 10, 100), count}):
            say(f"{waiting} runs that wait at one {kind}")
            with tempfile.TemporaryDirectory(prefix="stream-engine-bench-") as folder:
                yield from _Queue(Path(folder), kind).measure(waiting)


class _Queue:
    """A partition with one gate, where runs come to wait."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._kind = kind
        self._store = RocksStore(folder / "store", shared_memory())
        candidate = Candidate("bench", self._store, _ORIGIN)
        claim = candidate.campaign(_NOW)
        for offset in candidate.elected(0):
            change = candidate.replay(offset, claim)
            assert change is not None
            self._store.write(change)
        self._leader: Leader = candidate.lead(_RULES)
        self._offset = 1
        self._taken = 0
        self._running: list[str] = []

    def measure(self, count: int) -> Iterator[Figure]:
        """Yield the costs of so many runs."""
        of = f"{self._kind}, {count:,} waiting"
        memory = rss_bytes([os.getpid()])
        began = time.perf_counter()
        for first in range(0, count, _AT_ONCE):
            self._admit(range(first, min(first + _AT_ONCE, count)))
        yield Figure(f"{of}: admitting one", (time.perf_counter() - began) / count * 1e6, "us")
        if self._kind == "concurrency":
            began = time.perf_counter()
            ended = self._let_through(min(count // 2, _LET_THROUGH))
            yield Figure(
                f"{of}: ending one, which lets another through", (time.perf_counter() - began) / ended * 1e6, "us"
            )
        yield Figure(f"{of}: on disk, for each", self._disk() / count, "bytes")
        yield Figure(f"{of}: memory, more than before", max(rss_bytes([os.getpid()]) - memory, 0) / 2**20, "MiB")

    def _admit(self, numbers: range) -> None:
        asked = (Asked("f", (_GATES[self._kind],)),)
        items = [(number, Admit(_event(number), [], None, asked)) for number in numbers]
        self._decide([Take(self._taken, Commands("events", numbers.start, list(items), WRITES))])
        self._taken += 1

    def _let_through(self, count: int) -> int:
        ended = 0
        while ended < count:
            running, self._running = self._running, []
            self._decide([FinishRun(run_id, b"null") for run_id in running])
            ended += len(running)
        return ended

    def _decide(self, inputs: list[Take | Input]) -> None:
        while inputs and self._leader.decide(inputs, _NOW) is not None:
            committed = self._leader.acknowledged(self._offset)
            self._offset += 1
            self._store.write(committed.change)
            self._leader.told(committed.told.mark)
            self._running.extend(effect.run_id for effect in committed.effects if isinstance(effect, Execute))

    def _disk(self) -> int:
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())


def _event(number: int) -> Event:
    return Event("bench/gate", f"at:T/0/{number}", f"t/0/{number}", _NOW, _NOW, "t", 0, number, _DATA)
