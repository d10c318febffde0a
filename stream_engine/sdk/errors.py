"""The errors of the SDK: those that it raises, and those that users raise to say how to go on."""

from datetime import datetime

from stream_engine.core.duration import Duration, milliseconds
from stream_engine.core.failure import Failure


class NonRetriableError(Exception):
    """Raise it where trying again is pointless: the step, or the run, fails at once."""


class DeclarationError(NonRetriableError, ValueError):
    """An engine, a function or an option is declared in a way that cannot work; the message says where, what, and what can."""

    @classmethod
    def of(cls, where: str, option: str, value: object, allowed: str) -> "DeclarationError":
        """Return the error for one option: ``where`` names what is declared, ``allowed`` says what to write instead."""
        return cls(f"{where}: {option}={value!r}: {allowed}")


class RetryAfterError(Exception):
    """Raise it to say when to try again; the attempt counts like any other that failed.

    ``after`` is a duration (seconds, ``timedelta``, or text such as ``"30s"``), or the time itself, with a time zone.

    Raises:
        ValueError: ``after`` is neither.
    """

    def __init__(self, message: str, after: Duration | datetime) -> None:
        super().__init__(message)
        self.after = after
        self._delay = None if isinstance(after, datetime) else milliseconds(after)
        self._until = epoch_ms(after) if isinstance(after, datetime) else 0

    def delay(self, now: int) -> int:
        """Return how long to wait at the time ``now``; both are milliseconds."""
        return max(self._until - now, 0) if self._delay is None else self._delay


class StepError(Exception):
    """A step is out of retries. It is raised where the step was awaited, and is the same when the run is executed again.

    ``type`` and ``message`` are those of the exception that the step's body raised last; ``traceback`` is text.
    """

    def __init__(self, type: str, message: str, traceback: str = "") -> None:
        super().__init__(type, message, traceback)
        self.type = type
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class InvokeError(StepError):
    """A function that a step invoked gave no result.

    ``reason``: ``failed``, ``cancelled``, ``timeout``, ``rate_limited``, ``skipped``, ``paused`` or ``no_function``. Of one that failed, ``type``,
    ``message`` and ``traceback`` are those of the exception that ended it.
    """

    def __init__(self, reason: str, type: str, message: str, traceback: str = "") -> None:
        super().__init__(type, message, traceback)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}: {super().__str__() if self.reason == 'failed' else self.message}"


class StepUsageError(NonRetriableError, RuntimeError):
    """A step was asked for in a way, or at a time, that cannot work; trying again would not help."""


class NoTopicError(Exception):
    """The topic that a step produces to does not exist, and the cluster does not create it; somebody may do so any time."""


class ResultError(NonRetriableError):
    """What a step or a function returned cannot be recorded, or what was recorded cannot be read as its annotation says."""


class RunFailed(Exception):  # noqa: N818 - the contract's name: it tells how the run ended
    """A run failed. ``type``, ``message`` and ``traceback`` (text) are those of the exception that ended it."""

    def __init__(self, run_id: str, error: Failure) -> None:
        super().__init__(run_id, error)
        self.run_id = run_id
        self.type = error.type
        self.message = error.message
        self.traceback = error.traceback

    def __str__(self) -> str:
        return f"run {self.run_id} failed: {self.type}: {self.message}"


class RunCancelled(Exception):  # noqa: N818 - the contract's name: it tells how the run ended
    """A run was cancelled before it could complete; ``reason`` says by whom and why, as far as that is known."""

    def __init__(self, run_id: str, reason: str = "") -> None:
        super().__init__(run_id, reason)
        self.run_id = run_id
        self.reason = reason

    def __str__(self) -> str:
        return f"run {self.run_id} was cancelled" + (f": {self.reason}" if self.reason else "")


class SharedRunError(Exception):
    """A run cannot be cancelled by itself: its event is in ``run_of_others``, which would be cancelled with all of its events; ``reason`` says how that came."""

    def __init__(self, run_id: str, run_of_others: str, reason: str) -> None:
        super().__init__(run_id, run_of_others, reason)
        self.run_id = run_id
        self.run_of_others = run_of_others
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"run {self.run_id} cannot be cancelled by itself: {self.reason}; "
            f"to cancel run {self.run_of_others}, with all of its events: stream-engine runs cancel {self.run_of_others}"
        )


def epoch_ms(at: datetime) -> int:
    """Return a time as milliseconds since the epoch.

    Raises:
        ValueError: it has no time zone, so that what it means depends on the machine.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone; write datetime(..., tzinfo=UTC) or datetime.now(UTC)")
    return round(at.timestamp() * 1_000)
