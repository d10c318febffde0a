"""What users say about which of the waiting runs goes first."""

from dataclasses import dataclass

from stream_engine.core.expressions.expression import EvaluationError, ExpressionError, compile_expression
from stream_engine.core.expressions.scope import Scope
from stream_engine.core.functions.flow import MOST_HEAD_START
from stream_engine.core.records.journal import Event
from stream_engine.sdk import checks
from stream_engine.sdk.errors import DeclarationError

_BOUNDS = f"give from -{MOST_HEAD_START} to {MOST_HEAD_START} seconds of head start"


@dataclass(frozen=True)
class Priority:
    """How many seconds a run is ahead of others that wait with it, as if it had come so much earlier.

    Attributes:
        seconds: an expression, such as ``"event.data.plan == 'enterprise' ? 120 : 0"``, or a number; -600 to 600. What an
            expression gives beyond is taken for the bound.

    Raises:
        DeclarationError: a value is not allowed.
    """

    seconds: str | float

    def __post_init__(self) -> None:
        given = self.seconds
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            raise DeclarationError.of("Priority", "seconds", given, f"{_BOUNDS}, or an expression that does")
        if isinstance(given, str):
            checks.expression("Priority", "seconds", given, checks.NUMBERS)
        fixed = _fixed(given) if isinstance(given, str) else given
        if fixed is not None and not abs(fixed) <= MOST_HEAD_START:
            raise DeclarationError.of("Priority", "seconds", given, _BOUNDS)

    def spec(self) -> str:
        """Return it as an expression."""
        return self.seconds if isinstance(self.seconds, str) else repr(self.seconds)


def _fixed(text: str) -> float | None:
    """Return what an expression gives for every event, or None if that depends on the event."""
    try:
        return compile_expression(text, frozenset()).number(Scope(Event("", "", "", 0, 0, "", 0, 0, b"{}")))
    except (ExpressionError, EvaluationError):
        return None
