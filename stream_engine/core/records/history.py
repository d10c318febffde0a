"""What `<app>.history` tells: one record for each thing that happened to an event or a run.

These structs are what a decision says; the shell writes them as Avro, one schema for each class, named by its stem
(``RunStarted`` is ``schemas/run_started.avsc``), the fields in the same order. In the journal they travel as arrays, so the
rule of `stream_engine.core.records.journal` holds here too: fields are only added, at the end, with a default.

Times are milliseconds since the epoch. Results are JSON text. ``event_id`` is the producer's, or ``topic/partition/offset``.
"""

import msgspec

from stream_engine.core.failure import Failure

TAKEN_ALONG = "with the event of "
"""What the detail of an event begins with that the run of another one takes, whose id follows: it is coalesced, or is still to be."""


class _Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of the records of the history topic."""

    at: int


class EventDisposed(_Told, frozen=True, tag="event_disposed"):
    """What became of an event for one function, where that is not (yet) a start.

    ``disposition`` is one of the contract's words: ``duplicate``, ``paused``, ... are final; ``delayed`` and ``queued`` are
    interim. ``run_id`` names the run that waits, or the one that this event is a duplicate of, or is taken by. ``gate`` is the kind of
    gate (see `stream_engine.core.records.journal.Gate`) that decided, or where it waits, ``gate_key`` its key; ``earliest`` is when it may
    start at the earliest, where that is known. Of those that wait at one ``gate_id``, the lowest ``order`` comes first; ``place`` counts them
    as they were then, from 1.
    """

    function: str
    event_name: str
    event_id: str
    topic: str
    partition: int
    offset: int
    disposition: str
    run_id: str = ""
    detail: str = ""
    replay_id: str | None = None
    gate: str = ""
    gate_key: str = ""
    earliest: int | None = None
    gate_id: str = ""
    order: int | None = None
    place: int | None = None


class RunStarted(_Told, frozen=True, tag="run_started"):
    """A run began: the final disposition ``started`` of its event for its function."""

    run_id: str
    function: str
    version: str
    created_at: int
    event_name: str
    event_id: str
    topic: str
    partition: int
    offset: int
    key: str | None = None
    replay_id: str | None = None
    of_run: str | None = None
    rerun_of: str | None = None


class StepRecorded(_Told, frozen=True, tag="step_recorded"):
    """What one execution of a step came to.

    ``kind``: ``run``, ``sleep``, ``invoke``, ``wait``, ``callback``, ``send_event``, ``produce``. ``status``: ``completed``, ``failed`` (out of retries),
    ``retrying``, ``sleeping`` or ``waiting`` (all until ``wake_at``). ``attempt`` counts from 0. ``waits_for`` says which event is waited for,
    ``reason`` why an invoke has no result, in the contract's words.
    """

    run_id: str
    function: str
    step_id: str
    kind: str
    status: str
    attempt: int
    started_at: int
    wake_at: int | None = None
    result: str | None = None
    error: Failure | None = None
    waits_for: str | None = None
    reason: str | None = None


class RunChanged(_Told, frozen=True, tag="run_changed"):
    """A run that goes on: ``retrying`` (until ``wake_at``), ``running`` again, ``queued`` (for what
    ``detail`` says, at the ``gate`` named, if any), ``parked`` (no code), ``moved`` to the version named, or ``stopping`` once its steps in flight have
    ended, for the reason that ``detail`` says."""

    run_id: str
    function: str
    version: str
    change: str
    attempt: int
    wake_at: int | None = None
    detail: str = ""
    error: Failure | None = None
    gate: str = ""
    gate_key: str = ""
    gate_id: str = ""
    order: int | None = None
    place: int | None = None
    replay_id: str | None = None


class RunEnded(_Told, frozen=True, tag="run_ended"):
    """A run ended: ``completed``, ``failed``, ``cancelled`` or ``timed_out``; ``detail`` says why, where somebody else ended it."""

    run_id: str
    function: str
    version: str
    status: str
    started_at: int
    attempt: int
    result: str | None = None
    error: Failure | None = None
    replay_id: str | None = None
    detail: str = ""


class CompletionDisposed(_Told, frozen=True, tag="completion_disposed"):
    """What became of an attempt to complete a callback: ``completed``, or why it was refused, with a ``detail`` for readers.

    ``completion_id`` names the attempt: an event's id, or one that the command line or a worker's endpoint gave it; ``by`` says which
    of these it was: ``event``, ``cli`` or ``http``. ``function`` is empty where nothing is known of the run.
    """

    run_id: str
    function: str
    step_id: str
    completion_id: str
    disposition: str
    by: str
    detail: str = ""


HistoryRecord = EventDisposed | RunStarted | StepRecorded | RunChanged | RunEnded | CompletionDisposed

_SMALL = 400
_WITH_RESULT = (StepRecorded, RunEnded)
_WITHOUT_ERROR = (RunStarted, CompletionDisposed)


def weight(record: HistoryRecord) -> int:
    """Return about how many bytes a record takes, and rather too many: what may be long in it is counted."""
    if isinstance(record, EventDisposed):
        return _SMALL + len(record.event_id) + len(record.event_name) + len(record.topic)
    if isinstance(record, _WITH_RESULT) and record.result is not None:
        return _SMALL + _bytes(record.result)
    error = None if isinstance(record, _WITHOUT_ERROR) else record.error
    return _SMALL if error is None else _SMALL + _bytes(error.message) + _bytes(error.traceback)


def _bytes(text: str) -> int:
    """Return how many bytes a text takes at most; counting them would mean to encode it."""
    return len(text) if text.isascii() else 4 * len(text)
