"""What a leader decides upon besides the commands of its topic: what the execution of its runs reports, and its own needs.

The execution reports in the same process and the same term, so these are not written anywhere; what is decided upon them
is. Commands are imperative: each asks for something to be recorded. Delays and times are milliseconds.
"""

from stream_engine.core.failure import Failure
from stream_engine.core.records.journal import Record
from stream_engine.core.records.requests import Command
from stream_engine.core.records.tables import Outgoing
from stream_engine.core.records.wanted import Wanted


class RecordStep(Record, frozen=True):
    """A step's body returned; ``result`` is JSON. ``attempt`` counts from 0."""

    run_id: str
    step_id: str
    attempt: int
    started_at: int
    result: bytes
    kind: str = "run"
    sends: tuple[tuple[str, Outgoing], ...] = ()


class FailStep(Record, frozen=True):
    """A step's body raised; it is tried again after ``retry_in``, or never if that is None."""

    run_id: str
    step_id: str
    attempt: int
    started_at: int
    error: Failure
    retry_in: int | None = None
    kind: str = "run"


class Sleep(Record, frozen=True):
    """A step sleeps for ``delay``, or until ``until`` if that is given."""

    run_id: str
    step_id: str
    delay: int = 0
    until: int | None = None


OWN = -1
"""As many partitions as the app itself has."""


class CallsRefused(Record, frozen=True):
    """Kafka takes nothing for a queue of commands to another app, for a reason that does not pass by itself: ``error`` is Kafka's."""

    queue: str
    error: str


class Invoke(Record, frozen=True):
    """A step invokes a function of an app, whose commands topic has so many ``partitions`` (`OWN`; 0: there is none), and waits for its result.

    ``data`` is JSON. After ``timeout`` it waits no longer. With ``detached`` the run goes on then, and when the one that invoked it ends.
    """

    run_id: str
    step_id: str
    app: str
    function: str
    partitions: int
    data: bytes
    timeout: int | None = None
    detached: bool = False


class WaitForEvent(Record, frozen=True):
    """A step waits for an event, which may have come ``lookback`` before now at the earliest; after ``timeout`` it waits no longer."""

    run_id: str
    step_id: str
    wanted: Wanted
    timeout: int | None
    lookback: int


class AwaitCallback(Record, frozen=True):
    """A step waits until somebody completes it, or for ``timeout`` at most."""

    run_id: str
    step_id: str
    timeout: int | None = None


class Suspend(Record, frozen=True):
    """The execution waits for nothing but timers; ``signals`` is how many outcomes it has been handed."""

    run_id: str
    signals: int


class RetryRun(Record, frozen=True):
    """The body raised outside a step, and is to be executed again after ``delay``."""

    run_id: str
    delay: int
    error: Failure


class FinishRun(Record, frozen=True):
    """The body returned; ``result`` is JSON."""

    run_id: str
    result: bytes


class FailRun(Record, frozen=True):
    """The body raised, and is not tried again."""

    run_id: str
    error: Failure


class Resume(Record, frozen=True):
    """A run is to be executed that is not being executed."""

    run_id: str


class LendStep(Record, frozen=True):
    """The lead is given up while a step's body is running: the worker keeps it, and returns its result within ``lease``."""

    run_id: str
    step_id: str
    attempt: int
    started_at: int
    lease: int


class LendRun(Record, frozen=True):
    """The lead is given up while a run's code is running outside of its steps; see `LendStep`."""

    run_id: str
    lease: int


class Interrupted(Record, frozen=True):
    """A run is left while ``bodies`` of its steps are running: the id of each, the number of its attempt, and when that began."""

    run_id: str
    bodies: tuple[tuple[str, int, int], ...]


class Stopped(Record, frozen=True):
    """Of a run that is cancelled, nothing is running any more."""

    run_id: str


Input = (
    Command
    | Interrupted
    | Stopped
    | RecordStep
    | FailStep
    | Sleep
    | Invoke
    | CallsRefused
    | WaitForEvent
    | AwaitCallback
    | Suspend
    | RetryRun
    | FinishRun
    | FailRun
    | Resume
    | LendStep
    | LendRun
)
