"""What users say about events that cancel runs."""

from dataclasses import dataclass
from typing import Any

from stream_engine.core.duration import Duration
from stream_engine.core.expressions.criterion import Criterion, criterion
from stream_engine.core.expressions.expression import ExpressionError
from stream_engine.core.functions import flow
from stream_engine.sdk import checks
from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.names import check_trigger

MOST = 5


@dataclass(frozen=True)
class CancelOn:
    """An event that cancels a run, wherever that is: it waits, sleeps or runs. Events from before the run's own one do not, nor does that itself.

    Attributes:
        event: its name, or a prefix of names followed by ``*``.
        match: the path of a field that is equal in both events, such as ``"data.user_id"``.
        if_: a condition over ``event``, the run's, and ``async_event``, the cancelling one. Without ``match`` it needs an equality of a field of both.
        timeout: only within so long from when the run's event arrived; at any time without it.

    Raises:
        DeclarationError: a value is not allowed.
    """

    event: str
    match: str | None = None
    if_: str | None = None
    timeout: Duration | None = None

    def __post_init__(self) -> None:
        check_trigger("CancelOn", self.event, "event")
        self._criterion()
        if self.timeout is not None:
            checks.duration("CancelOn", "timeout", self.timeout)

    def spec(self) -> flow.CancelOn:
        """Return it as data."""
        timeout = None if self.timeout is None else checks.duration("CancelOn", "timeout", self.timeout)
        return flow.CancelOn(self.event, *self._criterion(), timeout)

    def _criterion(self) -> Criterion:
        try:
            return criterion(self.match, self.if_)
        except ExpressionError as error:
            raise DeclarationError(f"CancelOn({self.event!r}): {error}") from None


def cancel_on_of(where: str, value: Any) -> tuple[flow.CancelOn, ...]:
    """Return what the option ``cancel_on`` means.

    Raises:
        DeclarationError: it is something else, or too many.
    """
    given = list(value) if isinstance(value, list | tuple) else [value]
    for one in given:
        checks.option(
            where, "cancel_on", one, CancelOn, "CancelOn('order/cancelled', match='data.order_id'), or a list"
        )
    if len(given) > MOST:
        raise DeclarationError(f"{where}: cancel_on: there are {len(given)}; at most {MOST} are allowed")
    return tuple(one.spec() for one in given)
