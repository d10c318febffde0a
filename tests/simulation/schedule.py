"""Virtual time and the one source of chance: what happens when, in which order, and what goes wrong.

Everything that the simulated machines do is a call at a time on one heap, so a seed replays exactly. Times are microseconds.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

Call = Callable[[], None]
Body = Generator[str | None, None, None]
"""What a simulated thread runs: it yields the name of a point at which it may be interrupted, or None to wait to be woken."""

MILLISECOND = 1_000
TRACE_LINES = 300

SKEW = 200
"""By how many milliseconds the clock of a machine, and so journal time, may be ahead of the broker's, or behind it."""


@dataclass(frozen=True)
class Faults:
    """How likely things go wrong while the faults last. Chances are per occasion, ``kills`` are per second, and ``lag`` is the most milliseconds by which a lane hears late of events."""

    appends: dict[str, float] = field(default_factory=dict)
    crash: float = 0.0
    pause: float = 0.0
    kills: float = 0.0
    rebalances: float = 0.0
    lag: int = 0


class Schedule:
    """The clock of a simulated world, its dice, and its diary.

    Attributes:
        skew: by how many milliseconds clocks differ from this one at most.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0
        self.calm = False
        self.skew = SKEW
        self.counts: Counter[str] = Counter()
        self.trace: deque[tuple[int, str, tuple[Any, ...]]] = deque(maxlen=TRACE_LINES)
        self._heap: list[tuple[int, int, Call]] = []
        self._order = count()

    def at(self, delay: int, call: Call) -> None:
        """Have something called after a delay."""
        heapq.heappush(self._heap, (self.now + delay, next(self._order), call))

    def run(self, until: int | None, most: int) -> bool:
        """Run until a time, or until nothing is left to happen; return False if that takes more than ``most`` calls."""
        for _ in range(most):
            if not self._heap or (until is not None and self._heap[0][0] > until):
                self.now = self.now if until is None else until
                return True
            self.now, _, call = heapq.heappop(self._heap)
            call()
        return False

    def chance(self, probability: float) -> bool:
        """Return whether something goes wrong; never once the faults are over."""
        return not self.calm and probability > 0 and self.random.random() < probability

    def happened(self, fault: str, *about: Any) -> None:
        """Count a fault, and note it."""
        self.counts[fault] += 1
        self.note(fault, *about)

    def note(self, what: str, *about: Any) -> None:
        """Note what happened, for the reader of a failing seed."""
        self.trace.append((self.now, what, about))

    def diary(self) -> str:
        """Return the tail of the notes as text."""
        return "\n".join(f"{at / 1e6:12.6f}  {what} {' '.join(map(str, about))}" for at, what, about in self.trace)


class Host:
    """One life of a worker process: while it is paused its calls wait, and once it is dead they are void."""

    def __init__(self, schedule: Schedule, name: str, faults: Faults) -> None:
        self.schedule = schedule
        self.name = name
        self.alive = True
        self.paused = False
        self.on_crash: Call = lambda: None
        self.on_silence: Call = lambda: None
        self._faults = faults
        self._deferred: list[Call] = []

    def at(self, delay: int, call: Call) -> None:
        """Have the process do something after a delay."""
        self.schedule.at(delay, lambda: self.do(call))

    def soon(self, call: Call) -> None:
        """Have the process do something after a moment of scheduling."""
        self.at(20 + int(280 * self.schedule.random.random()), call)

    def do(self, call: Call) -> None:
        """Do something now, unless the process is paused or dead."""
        if not self.alive:
            return
        if self.paused:
            self._deferred.append(call)
            return
        call()

    def hear(self, call: Call) -> None:
        """Have the process hear of something, late where its network is slow."""
        lag = 0 if self.schedule.calm else self._faults.lag
        if lag:
            self.at(self.schedule.random.randrange(lag * MILLISECOND), call)
        else:
            self.do(call)

    def crash(self, where: str) -> None:
        """End the process as kill -9 does."""
        if self.alive:
            self.schedule.happened(f"crash {where}", self.name)
            self.alive = False
            self._deferred.clear()
            self.on_silence()
            self.on_crash()

    def pause(self, where: str, duration: int) -> None:
        """Stop the process as SIGSTOP does, and let it go on after a while."""
        self.schedule.happened(f"pause {where}", self.name, duration // MILLISECOND, "ms")
        self.paused = True
        self.on_silence()
        self.schedule.at(duration, self.resume)

    def resume(self) -> None:
        """Let a paused process go on."""
        if self.alive and self.paused:
            self.paused = False
            self.schedule.note("resumed", self.name)
            deferred, self._deferred = self._deferred, []
            for call in deferred:
                self.soon(call)

    def point(self, label: str) -> None:
        """Pass a point at which the process may die or be stopped."""
        if self.schedule.chance(self._faults.crash):
            self.crash(f"after {label}")
        elif not self.paused and self.schedule.chance(self._faults.pause):
            self.pause(f"after {label}", self.schedule.random.randrange(1, 400) * MILLISECOND)


class Thread:
    """A simulated thread of a process; between two yields nothing else of the world happens."""

    def __init__(self, host: Host, body: Body) -> None:
        self._host = host
        self._body = body
        self._waiting = True
        self._woken = False
        self.over = False
        self.wake()

    def wake(self) -> None:
        """Let the thread look again at what it waits for."""
        if self._waiting:
            self._waiting = False
            self._host.soon(self._step)
        else:
            self._woken = True

    def end(self) -> None:
        """Stop the thread for good."""
        self.over = True

    def _step(self) -> None:
        if self.over:
            return
        try:
            label = next(self._body)
        except StopIteration:
            self.over = True
            return
        if label is not None:
            self._host.point(label)
        elif not self._woken:
            self._waiting = True
            return
        self._woken = False
        self._host.soon(self._step)
