"""What routers, partitions, other apps and operators ask of a partition's leader: the records of the commands topic.

`stream_engine.core.records.journal` has the rule by which they change.
"""

from stream_engine.core.failure import Failure
from stream_engine.core.records.journal import FIRST, Event, Gate, Record
from stream_engine.core.records.wanted import (
    Await,
    Behind,
    Canceller,
    CaughtUp,
    Compare,
    Found,
    InVain,
    LastCall,
    Offer,
    Offering,
    Release,
    Search,
    TakeOut,
    Uncollect,
    Withdraw,
)


class Asked(Record, frozen=True):
    """A function that an event is for, the gates that its run has to pass, in their order, and what cancels it.

    ``home`` is the partition where the run lives, or -1 for that of its event. ``head_start`` is in milliseconds.
    """

    function: str
    gates: tuple[Gate, ...]
    home: int = -1
    head_start: int = 0
    cancellers: tuple[Canceller, ...] = ()


class Unfit(Record, frozen=True):
    """A function's part of an event that cannot be used: a stable code, and a sentence for the reader of the dead letter."""

    function: str
    reason: str
    detail: str


class Reused(Record, frozen=True):
    """A step that an earlier run of the same event has completed, whose result the new run takes over; ``result`` is JSON."""

    step_id: str
    kind: str
    attempt: int
    started_at: int
    ended_at: int
    result: bytes


class Admit(Record, frozen=True, tag="admit"):
    """An event is to be admitted to functions without gates and to those ``asked`` with them; for the ``unfit`` it is a dead letter.

    Its run takes over the steps that are ``reused``; with ``new_keys`` its idempotency keys are not those of the original run. Functions that
    are ``paused`` get no run, and need no gates. ``sent_at`` is the moment of the replayed run that sent the event, if one did (see
    `stream_engine.core.gates.event_time`), or 0. ``reused_of`` stands for the events of the original run (see `stream_engine.core.stages.reuse`).
    """

    event: Event
    functions: list[str]
    replay_id: str | None = None
    asked: tuple[Asked, ...] = ()
    unfit: tuple[Unfit, ...] = ()
    reused: tuple[Reused, ...] = ()
    new_keys: bool = False
    paused: tuple[Asked, ...] = ()
    sent_at: int = 0
    reused_of: str = ""


class Handle(Record, frozen=True, tag="handle"):
    """A run has failed, or was cancelled (then without ``error``); its function's handler is to run, with what the run was about."""

    function: str
    run_name: str
    of_run: str
    event: Event
    error: Failure | None
    replay_id: str | None = None


class ReturnStep(Record, frozen=True, tag="return step"):
    """What a step came to that was lent to the worker which led its partition before: ``result`` (JSON), or ``error``.

    After an error it is tried again after ``retry_in`` milliseconds, or never if that is None. Neither: it did not come to
    its end, and is to be begun again.
    """

    run_id: str
    step_id: str
    attempt: int
    started_at: int
    result: bytes | None
    error: Failure | None = None
    retry_in: int | None = None


class ReturnRun(Record, frozen=True, tag="return run"):
    """What a run's code came to that was lent: ``result``, ``error`` with ``retry_in`` as in `ReturnStep`, or neither.

    Neither: it did not come to its end, or asked for another step, and is to be executed anew.
    """

    run_id: str
    attempt: int
    result: bytes | None
    error: Failure | None = None
    retry_in: int | None = None


class Caller(Record, frozen=True):
    """The step that invoked a run, and is told how it ends.

    ``topic`` is where commands to the app of the run ``run_id`` go, whose step ``step_id`` it is. ``path`` has the functions, as
    ``app/function``, of the run that was invoked by nobody and of those between, down to the one that invokes; ``held`` the ids of the
    gates of concurrency of which these runs hold a slot, and ``holders`` which of them does, gate by gate. ``function`` is that of the run that was invoked
    by nobody, and ``topic_of``, ``partition`` and ``offset`` where the event of that is.
    """

    topic: str
    run_id: str
    step_id: str
    path: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    function: str = ""
    topic_of: str = ""
    partition: int = 0
    offset: int = 0
    holders: tuple[str, ...] = ()


class Handlers(Record, frozen=True):
    """The functions that run when a run has failed, or was cancelled; empty where there is none."""

    on_failure: str = ""
    on_cancel: str = ""


class Entry(Record, frozen=True):
    """An event on its way to become a run of a function, with the gates that are still before it.

    ``root`` is what idempotency keys derive from; ``order`` is by which the run waits its turn: its arrival less its head start, in
    milliseconds since the epoch. The run takes over the steps that are ``reused``, and is the rerun of another one, on a ``version``, if these are given.
    ``moment`` is its time in its replay, 0 outside of one. ``reused_of`` stands for the events of the run that had the steps, where a run may have several.
    ``handlers`` are what its function declared when it was admitted.
    """

    run_id: str
    function: str
    root: str
    created_at: int
    order: int
    gates: tuple[Gate, ...]
    event: Event
    replay_id: str | None = None
    caller: Caller | None = None
    reused: tuple[Reused, ...] = ()
    rerun_of: str = ""
    version: str = ""
    cancellers: tuple[Canceller, ...] = ()
    moment: int = 0
    reused_of: str = ""
    handlers: Handlers | None = None


class Span(Record, frozen=True):
    """So many events that lie under a name at their run's home. ``told``: what history is told of all but the one that the run has.

    It has been told of the ``first`` so many: of very many events, each record tells of some.
    """

    name: str
    count: int
    told: str = ""
    first: int = 0


class Pass(Record, frozen=True, tag="pass"):
    """An entry has come to the partition of its next gate, or to its run's home; ``span`` has all events where there are several."""

    entry: Entry
    span: Span | None = None


class Collect(Record, frozen=True, tag="collect"):
    """One event of a span, sent to a run's home ahead of the entry that has the span."""

    name: str
    number: int
    event: Event


class Ask(Record, frozen=True, tag="ask"):
    """A run asks to pass a gate. ``order``, ``partition`` and ``offset`` (of its event) are its place among those that wait.

    ``moment`` is its event's time: in a replay that of the replay, else when it arrived or was due. The answer has the ``number`` of the question: a run that
    was held, because its replay was paused, asks anew. A run shares the slot of the ``holder`` that it was invoked by or under, if that has one then; one that has
    begun, and so comes ``back``, may have left its own to those that it has invoked.
    """

    run_id: str
    function: str
    gate: Gate
    order: int
    partition: int
    offset: int
    replay_id: str | None = None
    moment: int = 0
    number: int = 0
    holder: str = ""
    back: bool = False


class Answer(Record, frozen=True, tag="answer"):
    """A run may pass the gate that it asked for, or is ``refused``: a disposition. ``order`` is a place that it inherits.

    With ``waits`` it is to wait there, until ``earliest`` at least where that is known, behind ``place`` - 1 others.
    """

    run_id: str
    gate: str
    refused: str = ""
    order: int | None = None
    waits: bool = False
    earliest: int | None = None
    place: int | None = None
    number: int = 0


class Free(Record, frozen=True, tag="free"):
    """A run needs a gate no more, whether it has passed it or still waits there; ``order`` is the place that it leaves, unstarted."""

    run_id: str
    gate: Gate
    order: int | None = None


class Began(Record, frozen=True, tag="began"):
    """A run that has passed a throttle has begun."""

    run_id: str
    gate: Gate


class Cancel(Record, frozen=True, tag="cancel"):
    """A run is to be cancelled, whatever it does; ``reason`` is for readers. With ``seek`` it may not have come to its home yet."""

    run_id: str
    reason: str
    seek: bool = False


class Seek(Record, frozen=True, tag="seek"):
    """A run that is to be cancelled has not come to its home: it is to be taken from wherever it waits, or when it comes by."""

    run_id: str
    reason: str


class Call(Record, frozen=True, tag="call"):
    """A function is invoked by a step of a run, of this app or another one, which in a replay has a ``moment``."""

    function: str
    run_id: str
    event: Event
    caller: Caller
    replay_id: str | None = None
    moment: int = 0


class Reply(Record, frozen=True, tag="reply"):
    """What came of an invoke: ``result`` (JSON), or ``reason``, one of the contract's words, with the ``error``."""

    run_id: str
    step_id: str
    result: bytes | None
    reason: str = ""
    error: Failure | None = None


class Letter(Record, frozen=True):
    """A message as it is buried in ``topic`` if it turns out to be of no use; ``headers`` lack only why."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class CompleteCallback(Record, frozen=True, tag="complete callback"):
    """Somebody whose token is genuine completes a callback with a ``result`` (JSON).

    ``by`` says which way it came: ``cli``, ``http`` or ``event``. Whoever sent it finds by ``completion_id`` in history what became of it. If it
    was an event that is refused, the ``letter`` is what is buried. ``at`` is when it was sent, in milliseconds since the epoch: for an event, the log's time of it.
    """

    run_id: str
    step_id: str
    result: bytes
    completion_id: str
    by: str
    letter: Letter | None = None
    at: int = 0


class TimeUp(Record, frozen=True, tag="time up"):
    """The time was up of a step that waits for an answer when this was sent; what is on the topic before it came in time."""

    run_id: str
    step_id: str


Command = (
    Admit | Handle | ReturnStep | ReturnRun | Pass | Collect | Ask | Answer | Free | Began | Cancel | Seek | Call | Reply
    | Await | Withdraw | Offer | Offering | Search | Compare | Release | Found | TakeOut | Uncollect | CompleteCallback
    | LastCall | CaughtUp | Behind | InVain | TimeUp
)  # fmt: skip


class Commands(Record, frozen=True):
    """One record of the commands topic: commands of one source to one partition, in order.

    ``source`` names the sender for good (see `stream_engine.core.partition.intake`); it is empty where repeats do no harm, and are taken,
    because the state says whether a command is still wanted. Each command has a sequence number. From a
    router these are offsets of the events topic, with gaps, and everything below ``floor`` is known to have arrived; from
    another partition's leader they are dense, and ``floor`` is None.
    """

    source: str
    floor: int | None
    items: list[tuple[int, Command]]
    format: int = FIRST
