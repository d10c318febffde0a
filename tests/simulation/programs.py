"""User code as data: small random programs of steps, and what an execution of a run does with one.

A program is interpreted as the SDK executes a function: from the top, with the recorded steps returning at once and in the
order in which they were recorded.
"""

from dataclasses import dataclass
from random import Random

from stream_engine.core.functions.flow import ANY_TIME, PLAIN, Flow, Timeouts

LOOKBACK = 600_000
"""What waits look back, where nothing else is said: longer than a world takes while things go wrong."""


@dataclass(frozen=True)
class Work:
    """``ctx.step.run``: raises in its first ``failures`` attempts; it is tried ``retries`` times more than once, and takes ``limit`` milliseconds at most."""

    id: str
    failures: int = 0
    retries: int = 2
    caught: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class Nap:
    """``ctx.step.sleep``, in milliseconds."""

    id: str
    delay: int


@dataclass(frozen=True)
class Emit:
    """``ctx.step.send_event``."""

    id: str
    name: str


@dataclass(frozen=True)
class Expect:
    """``ctx.step.wait_for_event``, for an event whose ``k`` is that of the run's own event; ``timeout`` and ``lookback`` are in milliseconds.

    ``if_`` is one of the conditions in `tests.simulation.sent`.
    """

    id: str
    name: str
    timeout: int
    lookback: int = LOOKBACK
    if_: str = ""


@dataclass(frozen=True)
class Fork:
    """``gather`` of branches, or a ``wait`` for the first of them, after which ``then`` names the step that depends on it."""

    id: str
    branches: tuple["Program", ...]
    first: bool = False


@dataclass(frozen=True)
class Stumble:
    """The body raises here, outside its steps, in the run's first ``times`` attempts; ``retries`` are allowed."""

    times: int
    retries: int = 3


@dataclass(frozen=True)
class Call:
    """``ctx.step.invoke`` of a function of the app; ``timeout`` is in milliseconds."""

    id: str
    function: str
    timeout: int | None = None
    detached: bool = False
    caught: bool = False


@dataclass(frozen=True)
class HandOut:
    """``ctx.step.callback``, whose token is handed out at once; ``timeout`` is in milliseconds."""

    id: str
    timeout: int | None = None


@dataclass(frozen=True)
class Answered:
    """Waits for the callback that was handed out by this id."""

    id: str


Op = Work | Nap | Emit | Expect | Fork | Stumble | Call | HandOut | Answered
Program = tuple[Op, ...]


@dataclass(frozen=True)
class SimFunction:
    """A function of the simulated app: what it is triggered by, and what it does."""

    id: str
    versions: tuple[str, ...]
    triggers: tuple[str, ...]
    program: Program
    on_failure: str | None = None
    flow: Flow = PLAIN
    on_cancel: str | None = None
    timeouts: Timeouts = ANY_TIME

    @property
    def gathers(self) -> bool:
        """Whether a run of it may have several events."""
        return self.flow.batch is not None or self.flow.debounce is not None


SHORT, LONG = 400, 600_000
"""Timeouts of waits: one that may well end while things go wrong, and one that is much longer than they take."""

_WEIGHTS = ((5, 5, 4, 4, 7, 1), (5, 6, 8, 2, 0, 1))
"""How often the body has work, flaky work, a nap, an emit, a fork and a stumble; and how often a branch of it."""


class Author:
    """Writes random programs."""

    def __init__(self, random: Random, emits: tuple[str, ...], expects: tuple[str, ...] = ()) -> None:
        """``emits`` and ``expects`` are the names of events that programs send and wait for."""
        self._random = random
        self._emits = emits
        self._expects = expects
        self._steps = 0

    def program(self, depth: int = 0) -> Program:
        """Return a program of a few operations."""
        ops = [self._expect() or self._op(depth) for _ in range(self._random.randrange(1, 4))]
        return tuple(ops)

    def _expect(self) -> Expect | None:
        random = self._random
        if not self._expects or random.random() > 0.3:
            return None
        self._steps += 1
        return Expect(f"s{self._steps}", random.choice(self._expects), random.choice((SHORT, LONG, LONG)))

    def _op(self, depth: int) -> Op:
        random = self._random
        self._steps += 1
        name = f"s{self._steps}"
        kind = random.choices(("work", "flaky", "nap", "emit", "fork", "stumble"), _WEIGHTS[depth])[0]
        if kind == "flaky":
            return Work(name, random.randrange(1, 4), random.randrange(0, 3), caught=random.random() < 0.5)
        if kind == "nap":
            return Nap(name, random.choice((0, 1, 5, 20, 80, 400, 60_000)))
        if kind == "emit" and self._emits:
            return Emit(name, random.choice(self._emits))
        if kind == "fork":
            branches = tuple(self.program(depth + 1) for _ in range(random.randrange(2, 4)))
            return Fork(name, branches, first=random.random() < 0.4)
        if kind == "stumble":
            return Stumble(random.randrange(1, 4), random.randrange(0, 4))
        return Work(name)
