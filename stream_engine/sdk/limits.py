"""What users say about how many runs there may be: at a time, or in a time."""

from dataclasses import dataclass
from typing import Any, Literal

from stream_engine.core.duration import Duration
from stream_engine.core.functions import flow
from stream_engine.sdk import checks
from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.names import check_id

MOST = 1_000_000


@dataclass(frozen=True)
class Concurrency:
    """At most ``limit`` runs at a time; a run that finds no slot waits for one.

    Attributes:
        limit: how many slots there are, 1 to 1,000,000, for each value of ``key``.
        key: an expression, such as ``"event.data.merchant_id"``; without one, there is one set of slots.
        pool: functions that name one pool share its slots; they must declare the same limit. Without one, a function has its own.
        while_waiting: ``"hold"`` keeps the slot until the run ends; ``"release"`` gives it back while the run sleeps or waits.

    Raises:
        DeclarationError: a value is not allowed.
    """

    limit: int
    key: str | None = None
    pool: str | None = None
    while_waiting: Literal["hold", "release"] = "hold"

    def __post_init__(self) -> None:
        where = "Concurrency"
        checks.whole(where, "limit", self.limit, 1, MOST)
        checks.key(where, self.key)
        if self.pool is not None:
            check_id(where, "pool", self.pool)
        checks.word(where, "while_waiting", self.while_waiting, ("hold", "release"))

    def spec(self) -> flow.Concurrency:
        """Return it as data."""
        return flow.Concurrency(self.limit, self.key, self.pool, self.while_waiting)


@dataclass(frozen=True)
class Timeouts:
    """How long a run may wait, and how long it may take; then it ends as ``timed_out``, and its function's ``on_failure`` runs.

    A step in flight is interrupted if it is ``async def``; a ``def`` step ends first.

    Attributes:
        start: how long it may wait for its gates and for room in a worker, from its event's arrival on, from its ``ts`` if that is later,
            or from when a debounce or batch has gathered its events.
        finish: how long it may take from its start on, sleeps and retries included.

    Raises:
        DeclarationError: a value is not allowed, or none is given.
    """

    start: Duration | None = None
    finish: Duration | None = None

    def __post_init__(self) -> None:
        if self.start is None and self.finish is None:
            raise DeclarationError("Timeouts: give start, finish or both, such as Timeouts(finish='1h')")
        self.spec()

    def spec(self) -> flow.Timeouts:
        """Return it as data."""
        given = {"start": self.start, "finish": self.finish}
        spec = {name: checks.duration("Timeouts", name, value) for name, value in given.items() if value is not None}
        return flow.Timeouts(**spec)


@dataclass(frozen=True)
class Throttle:
    """No window of ``per``, wherever it begins, holds more than ``limit + burst`` starts; a run that comes too early waits.

    Attributes:
        limit: how many starts, 1 to 1,000,000, for each value of ``key``.
        per: the length of the window, at most 366 days.
        key: an expression, such as ``"event.data.account_id"``.
        burst: how many more starts a window may hold.

    Raises:
        DeclarationError: a value is not allowed.
    """

    limit: int
    per: Duration
    key: str | None = None
    burst: int = 0

    def __post_init__(self) -> None:
        checks.whole("Throttle", "limit", self.limit, 1, MOST)
        checks.duration("Throttle", "per", self.per)
        checks.key("Throttle", self.key)
        checks.whole("Throttle", "burst", self.burst, 0, MOST)

    def spec(self) -> flow.Throttle:
        """Return it as data."""
        return flow.Throttle(self.limit, checks.duration("Throttle", "per", self.per), self.key, self.burst)


@dataclass(frozen=True)
class RateLimit:
    """No window of ``per``, wherever it begins, holds more than ``limit`` runs; further ones are dropped (``rate-limited``).

    Attributes:
        limit: how many runs, 1 to 1,000,000, for each value of ``key``.
        per: the length of the window, at most 366 days.
        key: an expression, such as ``"event.data.email"``.

    Raises:
        DeclarationError: a value is not allowed.
    """

    limit: int
    per: Duration
    key: str | None = None

    def __post_init__(self) -> None:
        checks.whole("RateLimit", "limit", self.limit, 1, MOST)
        checks.duration("RateLimit", "per", self.per)
        checks.key("RateLimit", self.key)

    def spec(self) -> flow.RateLimit:
        """Return it as data."""
        return flow.RateLimit(self.limit, checks.duration("RateLimit", "per", self.per), self.key)


def concurrency_of(where: str, given: object) -> tuple[flow.Concurrency, ...]:
    """Return what the option ``concurrency`` of a function means.

    Raises:
        DeclarationError: it is neither a `Concurrency` nor a list of up to two different ones.
    """
    limits: list[Any] = [*given] if isinstance(given, list | tuple) else [given]
    if not limits or not all(isinstance(limit, Concurrency) for limit in limits):
        raise DeclarationError.of(where, "concurrency", given, "give Concurrency(10), or a list of up to two of them")
    if len(limits) > 2:
        raise DeclarationError.of(
            where, "concurrency", given, f"a function has at most two limits, and not {len(limits)}"
        )
    if len({(limit.key, limit.pool) for limit in limits}) < len(limits):
        raise DeclarationError.of(where, "concurrency", given, "two limits have one key and pool; keep the lower one")
    return tuple(limit.spec() for limit in limits)
