"""What whoever started a run is told of it in the end: how it ended, or why there is none.

Starting is sending an event, and what is held is the name that a run of this event has (`stream_engine.core.identity.run_name`). A batch or a debounce makes
one run of many events, under the name that the first to come gave it; which of the events it is of in the end, and whether that first one is still among them,
is not said by the name. So a record is about two names: that of the run that it tells of, and that of its event, and what became of the event itself goes
before how the run of that name ended.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from stream_engine.core.identity import event_identity, run_name
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded, RunStarted
from stream_engine.core.views.caused import DEAD_LETTERED, DUPLICATE

NEVER_BEGAN: Final = frozenset({"cancelled", "paused", "skipped", "rate-limited"})
"""What is said of the event of a run that is not to be."""
_OF_ANOTHER: Final = frozenset({"batched", "coalesced", DUPLICATE})
ANSWERING: Final = NEVER_BEGAN | _OF_ANOTHER | {DEAD_LETTERED, "queued"}
"""The dispositions that may tell somebody what becomes of an event."""

_KEPT: Final = 100_000
_WAITS, _HAS_NO_RUN, _HAS_ENDED, _IS_GONE = range(4)


class Answer(NamedTuple):
    """What is known of a run for those who wait for it.

    ``status`` is how it ended, or ``queued``; ``detail`` says why there is no result; ``run_of_others`` is the run of another event, if that has this one
    or is to have it; ``end`` is what was told of the end, if the run began. Of two answers, the one of more ``weight`` holds. ``is_over`` says whether the run
    of this name has ended, which may be of other events.
    """

    status: str
    detail: str = ""
    run_of_others: str = ""
    end: RunEnded | None = None
    weight: int = _IS_GONE
    is_over: bool = False

    @property
    def is_final(self) -> bool:
        """Whether there is no more to come."""
        return self.weight > _WAITS

    def beside(self, before: "Answer | None") -> "Answer":
        """Return what is known by this and an answer before it."""
        if before is None:
            return self
        best = self if self.outweighs(before) else before
        return best._replace(is_over=self.is_over or before.is_over)

    def outweighs(self, other: "Answer") -> bool:
        """Return whether this holds, and not the other one. An id that comes again after a day has a run of the same name, whose end is the later one."""
        return self.rank > other.rank

    @property
    def rank(self) -> tuple[int, int]:
        """What `outweighs` goes by."""
        return self.weight, 0 if self.end is None else self.end.at


class Answers:
    """The newest answers of an app's history. Feed it that, in any order and as often as it comes."""

    def __init__(self, app: str, events_topic: str, most: int = _KEPT) -> None:
        """Begin; the oldest are forgotten where there are more than ``most``."""
        self._app = app
        self._topic = events_topic
        self._most = most
        self._known: dict[str, Answer] = {}
        self.has_forgotten = False

    def add(self, record: HistoryRecord) -> list[tuple[str, Answer]]:
        """Take a record of the history topic; return the final answers that it gives, by the names of the runs."""
        given = []
        for name, answer in answers(self._app, self._topic, record):
            known = self._known.get(name)
            if answer.is_final and (known is None or answer.outweighs(known)):
                given.append((name, answer))
            self._known[name] = answer.beside(known)
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]
            self.has_forgotten = True
        return given

    def get(self, run_id: str) -> Answer | None:
        """Return what is known of a run for whoever started it."""
        return self._known.get(name_of(run_id))

    def holder(self, run_id: str) -> str | None:
        """Return the run that has the event that a run was started by, as far as is known: another one, or this.

        None if the event is in no run, though the one of its name may go on without it, or if the other run has ended.
        """
        known = self.get(run_id)
        if known is None or known.weight in (_HAS_NO_RUN, _HAS_ENDED):
            return run_id
        if not known.run_of_others:
            return None
        passed = {run_id}
        while known is not None and known.run_of_others not in ("", *passed):
            run_id = known.run_of_others
            passed.add(run_id)
            known = self.get(run_id)
        return None if known is not None and known.is_over else run_id


def name_of(run_id: str) -> str:
    """Return the name of a run. Where it lives may differ from what whoever started it has worked out, if it is started with an id that was there before."""
    return run_id.rpartition("-")[0]


def ended(record: HistoryRecord) -> tuple[str, str] | None:
    """Return the run that a record says has ended, and its status; one that never begins, because a gate refused it or its function is paused, is cancelled."""
    if isinstance(record, RunEnded):
        return record.run_id, record.status
    if isinstance(record, EventDisposed) and record.run_id and record.disposition in NEVER_BEGAN:
        return record.run_id, "cancelled"
    return None


def answers(app: str, events_topic: str, record: HistoryRecord) -> Iterator[tuple[str, Answer]]:
    """Give what a record says, final or not, with the names of the runs that it says it of."""
    end = ended(record)
    if isinstance(record, RunEnded):
        yield name_of(record.run_id), Answer(record.status, record.detail, end=record, weight=_HAS_ENDED, is_over=True)
    elif end is not None:
        yield name_of(end[0]), Answer(end[1], _why(record), weight=_HAS_NO_RUN, is_over=True)
    if not isinstance(record, EventDisposed | RunStarted) or record.topic != events_topic:
        return  # an id from another topic is another one, and starts nothing here
    own = run_name(app, record.function, event_identity(record.event_id, "", 0, 0), record.replay_id)
    answer = _of_run(own, record) if isinstance(record, RunStarted) else _of_event(own, record)
    if answer is not None and record.event_id != f"{record.topic}/{record.partition}/{record.offset}":
        yield own, answer


def _of_run(own: str, record: RunStarted) -> Answer | None:
    """Return what the start of a run says of its event: of a run of several, it tells one that need not be the one that it is called by."""
    if name_of(record.run_id) == own or record.of_run is not None or record.rerun_of is not None:
        return None
    return _of_others("is one of several", record.run_id)


def _of_event(own: str, record: EventDisposed) -> Answer | None:
    """Return what a disposition says of its event, where that is more than what it says of the run.

    Of a debounce that keeps all events, the run is that of the first one, whose event is coalesced with later ones and yet is its own; the last one of
    these is only said to wait for that run.
    """
    disposition = record.disposition
    if disposition == DEAD_LETTERED:
        return Answer("cancelled", f"its event was {disposition}: {record.detail}")
    if name_of(record.run_id) == own:
        if disposition == "coalesced" and record.run_id not in record.detail:
            return Answer("cancelled", f"its event was coalesced {record.detail}", record.detail.rpartition(" ")[2])
        return None
    if disposition in NEVER_BEGAN:
        return Answer("cancelled", _why(record))
    if disposition in _OF_ANOTHER:
        return _of_others(f"was {disposition}", record.run_id)
    return _of_waiting(record) if disposition == "queued" else None


def _of_waiting(record: EventDisposed) -> Answer | None:
    """Return what is said of an event that waits for the run of another one: a debounce has it for good, a batch until it starts."""
    if record.gate == "batch":
        return Answer("queued", "its event is in a batch", record.run_id, weight=_WAITS)
    return _of_others("was coalesced", record.run_id) if record.gate == "debounce" else None


def _of_others(what: str, run_id: str) -> Answer:
    return Answer("cancelled", f"its event {what}: run {run_id} has it", run_id)


def _why(record: HistoryRecord) -> str:
    assert isinstance(record, EventDisposed)
    return record.detail or f"its event was {record.disposition}"
