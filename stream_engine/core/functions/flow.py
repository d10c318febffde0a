"""Flow control as functions declare it, as data: part of the catalogue that routers go by, and of the rules of leaders.

Expressions are text (see `stream_engine.core.expressions.expression`), times are milliseconds. Fields are only added, with a default.
"""

from typing import Literal

import msgspec


class _Spec(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of what is declared."""


class Concurrency(_Spec, frozen=True):
    """At most ``limit`` runs with one key at a time; functions that name one ``pool`` share its slots.

    With ``while_waiting="release"`` a run gives its slot back while it sleeps or waits.
    """

    limit: int
    key: str | None = None
    pool: str | None = None
    while_waiting: Literal["hold", "release"] = "hold"


class Throttle(_Spec, frozen=True):
    """No window of ``per`` holds more than ``limit + burst`` starts; further ones wait."""

    limit: int
    per: int
    key: str | None = None
    burst: int = 0


class RateLimit(_Spec, frozen=True):
    """No window of ``per`` holds more than ``limit`` starts; further ones are dropped."""

    limit: int
    per: int
    key: str | None = None


class Debounce(_Spec, frozen=True):
    """A run starts once no newer event has come for ``period``, or ``max_wait`` after the first; with the latest or all."""

    period: int
    key: str | None = None
    max_wait: int | None = None
    keep: Literal["latest", "all"] = "latest"


class Batch(_Spec, frozen=True):
    """A run gets up to ``size`` events, or ``max_bytes`` of data, or what has come ``timeout`` after the first.

    An event for which ``if_`` is false runs at once, alone.
    """

    size: int
    timeout: int
    key: str | None = None
    max_bytes: int = 10_485_760
    if_: str | None = None


class Singleton(_Spec, frozen=True):
    """One run at a time; another trigger is skipped, or replaces the run that is there."""

    mode: Literal["skip", "replace"] = "skip"
    key: str | None = None


class Cron(_Spec, frozen=True):
    """A trigger by time: five fields, or six with the seconds first; see `stream_engine.core.functions.cron`."""

    expression: str
    tz: str = "UTC"
    overlap: Literal["skip", "queue", "cancel", "allow"] = "skip"
    catch_up: int = 0
    jitter: int = 0


class Timeouts(_Spec, frozen=True):
    """How long a run may wait for its start, from its event's arrival on, and how long it may take from its start on."""

    start: int | None = None
    finish: int | None = None


ANY_TIME = Timeouts()
"""No timeouts at all."""


class CancelOn(_Spec, frozen=True):
    """An event, of a name or a pattern of names, that cancels a run, if it comes within ``timeout``.

    The field at ``path`` of it has to have the value of the field at ``own`` of the run's event, where these are not empty; ``if_`` has to hold, too.
    ``needs_event`` says whether that is about the run's event as well.
    """

    name: str
    own: str = ""
    path: str = ""
    if_: str = ""
    needs_event: bool = False
    timeout: int | None = None


class Flow(_Spec, frozen=True):
    """All of what one function declares. ``priority`` gives seconds of head start, ``idempotency`` one run per value in 24 h."""

    concurrency: tuple[Concurrency, ...] = ()
    throttle: Throttle | None = None
    rate_limit: RateLimit | None = None
    debounce: Debounce | None = None
    batch: Batch | None = None
    singleton: Singleton | None = None
    priority: str | None = None
    idempotency: str | None = None
    cancel_on: tuple[CancelOn, ...] = ()


PLAIN = Flow()
"""No flow control at all."""

MOST_HEAD_START = 600
"""How many seconds a priority may put a run ahead of others, or behind them."""


def concurrency_scope(function: str, index: int, limit: Concurrency) -> str:
    """Return what the slots of a function's limit are counted under: its pool, or the function itself and which of its limits it is."""
    return limit.pool or (f"{function}/{index + 1}" if index else function)


def numbers(flow: Flow, function: str, kind: str, scope: str) -> tuple[int, int] | None:
    """Return the limit and the window of a gate (see `stream_engine.core.records.journal.Gate`) as declared now, or None if it is not."""
    if kind == "throttle" and flow.throttle is not None and scope == function:
        return flow.throttle.limit + flow.throttle.burst, flow.throttle.per
    if kind == "rate limit" and flow.rate_limit is not None and scope == function:
        return flow.rate_limit.limit, flow.rate_limit.per
    if kind == "concurrency":
        for index, limit in enumerate(flow.concurrency):
            if concurrency_scope(function, index, limit) == scope:
                return limit.limit, 0
    return None
