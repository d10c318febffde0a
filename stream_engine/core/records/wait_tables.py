"""The tables of the partitions where events come together with who waits for them; see `stream_engine.core.waits.offers`."""

from stream_engine.core.instants import LAST_MS
from stream_engine.core.records.journal import Event, Record
from stream_engine.core.records.tables import Table
from stream_engine.core.records.wanted import Await, Sender


class Offered(Record, frozen=True):
    """An event that may be waited for, kept until a time. ``sender`` is the run that sent it, if one did."""

    event: Event
    until: int
    sender: Sender | None = None


class Waiter(Record, frozen=True):
    """A wait for an event, or without ``asked`` what is left of one that was withdrawn before it came, until a time.

    It is ``held`` until all events that it is about have been offered. While events are being compared with it, those up to ``searched`` have been.
    When its time is over, its last call has come: it is ``called``. It is at its ``last`` search when all events are here that came before its end: then it is
    in vain if that finds none.
    """

    asked: Await | None
    held: bool = False
    searched: bytes = b""
    until: int = 0
    last: bool = False
    called: bool = False


class Had(Record, frozen=True):
    """That a run has had an event, which is known until a time; see `stream_engine.core.waits.had`."""

    until: int


class HeldBack(Record, frozen=True):
    """A wait that is held, by its key."""

    waiter: bytes


class Overdue(Record, frozen=True):
    """A wait whose end has come, by its key; it is not held. Or a step of a run that waits for somebody to complete it, maybe by an event."""

    waiter: bytes
    run_id: str = ""
    step_id: str = ""


class Lane(Record, frozen=True):
    """What a lane of a topic has offered of an interest, since it was asked at a time: all since another, to be kept for so many milliseconds.

    What it had offered ``before`` it was asked then is kept for as long as it was to be kept before, if that was longer; 0 if it was not.
    """

    topic: str
    number: int
    since: int
    at: int
    keep: int
    before: int = 0


class Interest(Record, frozen=True):
    """Events of a name are waited for here by a field. ``lanes`` have said what they have offered; each topic has so ``many``.

    Events ``since`` a time were asked for, at ``asked_at``, to be kept for so long. ``open`` waits are there, the newest since ``used_at``. ``timer`` says
    when it is looked at whether there will be more; ``lately`` is how far any has looked back since that was done last, in milliseconds.
    """

    lanes: tuple[Lane, ...] = ()
    since: int = LAST_MS
    keep: int = 0
    asked_at: int = 0
    open: int = 0
    used_at: int = 0
    name: str = ""
    path: str = ""
    timer: int = 0
    many: tuple[tuple[str, int], ...] = ()
    lately: int = 0
    comparing: int = 0


OFFERED = Table(b"O", Offered)
WAITERS = Table(b"W", Waiter)
HELD_BACK = Table(b"H", HeldBack)
INTERESTS = Table(b"I", Interest)
OVERDUE = Table(b"D", Overdue)
HAD = Table(b"A", Had)
