"""Events that runs wait for: what partitions and the routers' lanes tell each other of them, as part of `stream_engine.core.records.requests`."""

from stream_engine.core.records.journal import Event, Gate, Record

_SHOWN = 80


class Wanted(Record, frozen=True):
    """An event that is waited for: of a name, or of all that begin so before a ``*``, and with a value in a field.

    ``path`` is the field's place in the event, such as ``data.order_id``, or empty for any event; ``value`` is as `Expression.key` writes it.
    ``if_`` is an expression over ``async_event`` that also has to hold, if it is given; ``needs_event`` says whether it is over ``event``, too, which
    is what the run is about. ``also`` has further fields and the values that they are to have, written in the same way.
    """

    name: str
    path: str = ""
    value: str = ""
    if_: str = ""
    needs_event: bool = False
    also: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        fields = ((self.path, self.value), *self.also) if self.path else ()
        of = " and ".join(f"{path} = {_cut(value)}" for path, value in fields)
        of = f" with {of}" if of else ""
        return f"{self.name}{of}{f' if {self.if_}' if self.if_ else ''}"


def _cut(value: str) -> str:
    return value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"


class Canceller(Record, frozen=True):
    """An event that cancels a run, if it comes within so many milliseconds from the run's admission, or at any time."""

    wanted: Wanted
    timeout: int | None = None


class Await(Record, frozen=True, tag="await"):
    """Who waits asks for the earliest event behind a place that is wanted, but for those ``taken`` (identities), and those that the run has had from there.

    ``after`` is a place as `stream_engine.core.waits.interests.place` writes it. Events are looked for among those of the last ``keep`` milliseconds.
    ``event`` is what the run is about, where the condition needs it. Events that came after ``until`` do not count, unless that is 0.

    With ``cancels``, the event cancels the run, and ``step_id`` tells such waits of a run apart. With a ``batch``, it takes an event out of that:
    the one with this ``number`` in the buffer of this name, at the ``gate`` that gathers it.

    ``created_at`` is the run's, which tells it from another one of its id. Who asks again, because the answer was an event that the run has had already,
    says what else it has had, or some of it (``had``, identities), which is remembered there.
    """

    run_id: str
    step_id: str
    wanted: Wanted
    after: bytes
    keep: int
    replay_id: str | None = None
    taken: tuple[str, ...] = ()
    event: Event | None = None
    until: int = 0
    cancels: bool = False
    gate: Gate | None = None
    batch: str = ""
    number: int = 0
    created_at: int = 0
    had: tuple[str, ...] = ()


class Withdraw(Record, frozen=True, tag="withdraw"):
    """Nobody waits any more for what has this ``slot``; see `Await`."""

    run_id: str
    step_id: str
    slot: str
    cancels: bool = False


class LastCall(Record, frozen=True, tag="last call"):
    """A step has waited for as long as it was to: it is to have an event that came by then if there is one, or is told that there is none."""

    run_id: str
    step_id: str
    slot: str


class CaughtUp(Record, frozen=True, tag="caught up"):
    """All events that came ``before`` a time are routed, and what was offered of them is in this topic before this."""

    before: int


class Behind(Record, frozen=True, tag="behind"):
    """It takes the lanes long to come to where all events are routed that came ``before`` a time; waits up to a key have been told."""

    before: int
    key: bytes = b""


class Sender(Record, frozen=True):
    """The function of the run that sent an event, the place of the run's own event, and the replay that it was a run of."""

    function: str
    topic: str
    partition: int
    offset: int
    replay_id: str | None = None


class Offer(Record, frozen=True, tag="offer"):
    """An event that may be waited for by those of a slot, which ``keep`` it for so many milliseconds. ``sender`` is the run that sent it, if one did.

    One that is for several slots of a partition is offered for each: what is decided upon later than what came behind it on the topic would be missed by waits
    that are told meanwhile that everything is here.
    """

    event: Event
    slot: str
    keep: int
    sender: Sender | None = None


class Offering(Record, frozen=True, tag="offering"):
    """One lane of a topic has offered all events of an interest since a time, and goes on with it; ``lanes`` has how many each topic has.

    ``asked_at`` is when the partition asked, by its own time.
    """

    interest: str
    topic: str
    lane: int
    lanes: tuple[tuple[str, int], ...]
    since: int
    keep: int
    asked_at: int


class Search(Record, frozen=True, tag="search"):
    """A wait, by its key, is to be compared with further events that have been offered."""

    key: bytes


class Compare(Record, frozen=True, tag="compare"):
    """An event of an interest that has been offered, by its key, is to be compared with further waits of its slot, behind a key."""

    key: bytes
    behind: bytes
    interest: str = ""


class Release(Record, frozen=True, tag="release"):
    """Further waits of an interest are to be answered, because all its lanes have offered what they are about."""

    interest: str


class Found(Record, frozen=True, tag="found"):
    """The event that a step waits for."""

    run_id: str
    step_id: str
    event: Event


class InVain(Record, frozen=True, tag="in vain"):
    """No event came in time of those that a step waits for; or that is not known yet, because not all lanes have offered what came by then."""

    run_id: str
    step_id: str
    known: bool


class TakeOut(Record, frozen=True, tag="take out"):
    """An event is to be taken out of a batch that has not started; see `Await`."""

    run_id: str
    gate: str
    batch: str
    number: int
    reason: str


class Uncollect(Record, frozen=True, tag="uncollect"):
    """One event of a span is to be dropped, and why; ``run_id`` is that of the batch if it was the last one, and else empty."""

    function: str
    name: str
    number: int
    reason: str
    run_id: str = ""
    replay_id: str | None = None
