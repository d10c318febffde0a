"""What the running code is part of: nothing of ours, an execution of a run, or the body of one of its steps."""

from contextvars import ContextVar
from typing import NamedTuple

from stream_engine.core.identity import idempotency_key
from stream_engine.sdk.errors import StepUsageError


class SentBy(NamedTuple):
    """What messages say of the run that sends them, and the replay that it is a run of."""

    headers: tuple[tuple[str, bytes], ...]
    replay_id: str | None


class Outside:
    """Base of what code outside of step bodies is part of."""

    __slots__ = ()

    def sent_by(self) -> SentBy | None:
        """Return what is said of who sends, or None if that is no run."""
        return None


class CurrentStep:
    """The step whose body is running. ``attempt`` counts from 0."""

    __slots__ = ("_outside", "_root", "attempt", "id", "run_id")

    def __init__(self, run_id: str, id: str, attempt: int, root: str, outside: Outside) -> None:
        self.run_id = run_id
        self.id = id
        self.attempt = attempt
        self._root = root
        self._outside = outside

    def sent_by(self) -> SentBy | None:
        """Return what is said of who sends."""
        return self._outside.sent_by()

    @property
    def idempotency_key(self) -> str:
        """A name for what the step does: the same for this event, function and step in every retry, crash and replay."""
        return idempotency_key(self._root, self.id)


scope: ContextVar[Outside | CurrentStep | None] = ContextVar("stream_engine_scope", default=None)


def sent_by() -> SentBy | None:
    """Return what messages say of the run whose code is running here, or None if none is.

    Where a replay runs that anew it sends them anew, and passes over those that are on the log. Threads that users start are nobody's.
    """
    inside = scope.get()
    return None if inside is None else inside.sent_by()


def current_step() -> CurrentStep:
    """Return the step whose body is running; it works in the threads of steps too.

    Raises:
        StepUsageError: no step's body is running.
    """
    inside = scope.get()
    if isinstance(inside, CurrentStep):
        return inside
    raise StepUsageError("current_step() only means something inside a step's body")
