"""The tables of the partitions where events come together with who waits for them; see `stream_engine.core.offers`."""

from stream_engine.core.records import Event, Record
from stream_engine.core.runs import LAST_MS
from stream_engine.core.tables import Table
from stream_engine.core.wanted import Await


class Offered(Record, frozen=True):
    """An event that may be waited for, kept until a time."""

    event: Event
    until: int
    replay_id: str | None = None


class Waiter(Record, frozen=True):
    """A wait for an event, or without ``asked`` what is left of one that was withdrawn before it came, until a time.

    It is ``held`` until all events that it is about have been offered. While events are being compared with it, those up to ``searched`` have been.
    """

    asked: Await | None
    held: bool = False
    searched: bytes = b""
    until: int = 0


class HeldBack(Record, frozen=True):
    """A wait that is held, by its key."""

    waiter: bytes


class Lane(Record, frozen=True):
    """What a lane of a topic has offered of an interest, as of a time: all since another, to be kept for so many milliseconds."""

    topic: str
    number: int
    since: int
    at: int
    keep: int


class Interest(Record, frozen=True):
    """Events of a name are waited for here by a field. ``lanes`` have said what they have offered; each topic has so ``many``.

    Events ``since`` a time were asked for, at ``asked_at``, to be kept for so long. ``open`` waits are there, the newest since ``used_at``; if there
    are none, ``timer`` says when it is looked at whether there will be more.
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


OFFERED = Table(b"O", Offered)
WAITERS = Table(b"W", Waiter)
HELD_BACK = Table(b"H", HeldBack)
INTERESTS = Table(b"I", Interest)
