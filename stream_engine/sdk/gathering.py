"""What users say about several events that make one run."""

from dataclasses import dataclass
from typing import Literal

from stream_engine.core.duration import Duration
from stream_engine.core.functions import flow
from stream_engine.sdk import checks
from stream_engine.sdk.errors import DeclarationError

_MOST_EVENTS = 10_000
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Debounce:
    """A run starts once no newer event has come for ``period``; the events before the latest one are ``coalesced``.

    Attributes:
        period: how long it has to be quiet, at most 366 days.
        key: an expression, such as ``"event.data.order_id"``: events with different values do not disturb each other.
        max_wait: when a run starts at the latest, counted from the first event; at least ``period``. Without it, it may never.
        keep: ``"latest"`` hands over the latest event, ``"all"`` every one, in `Context.events`.

    Raises:
        DeclarationError: a value is not allowed.
    """

    period: Duration
    key: str | None = None
    max_wait: Duration | None = None
    keep: Literal["latest", "all"] = "latest"

    def __post_init__(self) -> None:
        period = checks.duration("Debounce", "period", self.period)
        checks.key("Debounce", self.key)
        if self.max_wait is not None and checks.duration("Debounce", "max_wait", self.max_wait) < period:
            allowed = f"nothing would ever be quiet for so long: give at least period={self.period!r}"
            raise DeclarationError.of("Debounce", "max_wait", self.max_wait, allowed)
        checks.word("Debounce", "keep", self.keep, ("latest", "all"))

    def spec(self) -> flow.Debounce:
        """Return it as data."""
        most = None if self.max_wait is None else checks.duration("Debounce", "max_wait", self.max_wait)
        return flow.Debounce(checks.duration("Debounce", "period", self.period), self.key, most, self.keep)


@dataclass(frozen=True)
class Batch:
    """A run gets up to ``size`` events, in `Context.events`: once there are so many, or so many bytes, or ``timeout`` after the first.

    Attributes:
        size: how many events at most, 1 to 10,000.
        timeout: how long the first one waits for others, at most 366 days.
        key: an expression, such as ``"event.data.tenant"``: events with one value make one batch.
        max_bytes: how much data a batch has at most, up to 64 MiB; one event may have more.
        if_: an expression; an event for which it is false runs at once, alone.

    Raises:
        DeclarationError: a value is not allowed.
    """

    size: int
    timeout: Duration
    key: str | None = None
    max_bytes: int = 10_485_760
    if_: str | None = None

    def __post_init__(self) -> None:
        checks.whole("Batch", "size", self.size, 1, _MOST_EVENTS)
        checks.duration("Batch", "timeout", self.timeout)
        checks.key("Batch", self.key)
        checks.whole("Batch", "max_bytes", self.max_bytes, 1, _MOST_BYTES)
        if self.if_ is not None:
            checks.expression("Batch", "if_", self.if_, checks.CONDITIONS)

    def spec(self) -> flow.Batch:
        """Return it as data."""
        timeout = checks.duration("Batch", "timeout", self.timeout)
        return flow.Batch(self.size, timeout, self.key, self.max_bytes, self.if_)
