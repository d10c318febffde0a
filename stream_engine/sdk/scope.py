"""What the running code is part of: nothing of ours, an execution of a run, or the body of one of its steps."""

from contextvars import ContextVar

from stream_engine.core.identity import idempotency_key
from stream_engine.sdk.errors import StepUsageError


class CurrentStep:
    """The step whose body is running. ``attempt`` counts from 0."""

    __slots__ = ("_root", "attempt", "id", "run_id")

    def __init__(self, run_id: str, id: str, attempt: int, root: str) -> None:
        self.run_id = run_id
        self.id = id
        self.attempt = attempt
        self._root = root

    @property
    def idempotency_key(self) -> str:
        """A name for what the step does: the same for this event, function and step in every retry, crash and replay."""
        return idempotency_key(self._root, self.id)


class Outside:
    """Base of what code outside of step bodies is part of."""

    __slots__ = ()


scope: ContextVar[Outside | CurrentStep | None] = ContextVar("stream_engine_scope", default=None)


def current_step() -> CurrentStep:
    """Return the step whose body is running; it works in the threads of steps too.

    Raises:
        StepUsageError: no step's body is running.
    """
    inside = scope.get()
    if isinstance(inside, CurrentStep):
        return inside
    raise StepUsageError("current_step() only means something inside a step's body")
