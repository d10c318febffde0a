"""How a run would go with other code: what history has of it answers the code's steps, and where the code goes another way it differs.

`Past` is what history tells of a run. `Course` listens to an execution that is answered from it, and keeps the first thing that differs.

Theory of operation. A step that history has no outcome of is not answered, and its body is not called. Code that comes to its end all the same
goes as before: who takes the first of two leaves the other one without a record. Code that waits for nothing else differs there. Of a run that has
not ended, or that somebody else ended, history has the beginning: where all that it has was asked for again, the code is where the run is.

That a step came before another one is only told by their times: it had ended when the other one began. Whoever asks for it after the other one has
been answered has changed the order; whoever asks for both at once has not. What history does not hold cannot be compared: the arguments of steps,
what they produce to other topics, the data of invokes, and until when a run sleeps, which may follow from the clock.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from stream_engine.core.failure import Failure
from stream_engine.core.records.history import HistoryRecord, RunEnded, RunStarted, StepRecorded

_CUT: Final = 120
_CONCLUDED: Final = frozenset({"completed", "failed"})


class Difference(msgspec.Struct, frozen=True):
    """The first thing in which a run differs.

    ``what``: ``new step``, ``step left out``, ``kind of step``, ``order of steps``, ``sleep``, ``sent event``, ``invoked function``, ``status``,
    ``awaited event``, ``timeout of a wait``, ``result``, ``error``, ``no end``; or of an event: ``new run``, ``no run``, ``flow control``, ``cancelling events``, ``dead letter``. ``old`` and ``new`` are cut short.
    """

    what: str
    step: str | None = None
    kind: str | None = None
    old: str | None = None
    new: str | None = None

    def __str__(self) -> str:
        where = "" if self.step is None else f" {self.step}" + (f" ({self.kind})" if self.kind else "")
        values = [f"{name} {value}" for name, value in (("was", self.old), ("would be", self.new)) if value is not None]
        return f"{self.what}{where}" + (f": {', '.join(values)}" if values else "")


class SentEvent(NamedTuple):
    """An event that a step sends; ``data`` is JSON."""

    id: str
    name: str
    key: bytes | None
    data: bytes


class PastStep(msgspec.Struct):
    """A step as history has it, newest attempt; times in milliseconds since the epoch, ``result`` is JSON text.

    ``order`` is its place among the records of its run. ``delay`` is how long it was to sleep, or to wait for an event that is ``waits_for`` in words;
    ``reason`` is why an invoke has no result.
    """

    id: str
    kind: str
    status: str
    order: int
    attempt: int
    started_at: int
    at: int
    result: str | None = None
    error: Failure | None = None
    delay: int | None = None
    waits_for: str | None = None
    reason: str = ""

    @property
    def settled(self) -> bool:
        """Whether it has its outcome."""
        return self.status in _CONCLUDED

    def __str__(self) -> str:
        return f"{self.id} ({self.kind})"


class Past(msgspec.Struct):
    """What history tells of a run: how it began, its steps by their ids, and how it ended, if it has.

    ``sent`` has the events of it that are on the log, by their ids; None where the log was not read. ``invoked`` has the functions that its
    steps invoked, as far as that is known; ``error`` is what a handler's run was begun for.
    """

    started: RunStarted
    steps: dict[str, PastStep]
    ended: RunEnded | None
    version: str
    sent: Mapping[str, SentEvent] = {}
    invoked: Mapping[str, str] = {}
    error: Failure | None = None

    @property
    def status(self) -> str:
        """How it ended, or ``running``."""
        return "running" if self.ended is None else self.ended.status

    @property
    def concluded(self) -> bool:
        """Whether its code came to its end, so that there is nothing of it that history does not have."""
        return self.status in _CONCLUDED


def past(records: Iterable[HistoryRecord]) -> Past | None:
    """Return what the records of a run come to, each once and in their order; None if it never began, or its beginning has expired."""
    started: RunStarted | None = None
    ended: RunEnded | None = None
    steps: dict[str, PastStep] = {}
    version = ""
    for order, record in enumerate(records):
        if isinstance(record, StepRecorded):
            _record(steps, record, order)
        elif isinstance(record, RunStarted):
            started, version = record, record.version
        elif isinstance(record, RunEnded):
            ended, version = record, record.version
    return None if started is None else Past(started, steps, ended, version)


class Course:
    """Follows an execution of a run's code, and tells how it differs from the run's past.

    Attributes:
        difference: the first one, or None.
        over: whether there is nothing more to find out.
    """

    def __init__(self, past: Past) -> None:
        self.past = past
        self.difference: Difference | None = None
        self.over = False
        self._asked: set[str] = set()
        self._unanswered: list[tuple[str, str]] = []
        self._latest: PastStep | None = None

    def begin(self) -> None:
        """The code begins at its top, for the first time or once more."""
        self._latest = None
        self._unanswered.clear()

    def asks(self, step: str, kind: str, detail: Any = None) -> None:
        """The code asks for a step; ``kind`` is empty where it is not known.

        ``detail`` is how long it is to sleep (milliseconds), None for until a time; or which event it waits for, in words, and how long, None for ever; or
        which function of the app it invokes, None for one of another app.
        """
        self._asked.add(step)
        known = self.past.steps.get(step)
        if known is None or not known.settled:
            self._unanswered.append((step, kind))
        if known is None:
            return
        if kind and kind != known.kind:
            self._differ(Difference("kind of step", step, None, known.kind, kind))
        latest = self._latest
        if latest is not None and known.settled and known.at <= latest.started_at and known.order < latest.order:
            self._differ(Difference("order of steps", step, known.kind, f"before {latest.id}", f"after {latest.id}"))
        if kind == "sleep" and None not in (detail, known.delay) and detail != known.delay:
            self._differ(Difference("sleep", step, None, _duration(known.delay), _duration(detail)))
        if kind == "wait" and detail is not None and known.waits_for is not None:
            self._compare_waits(known, known.waits_for, *detail)
        invoked = self.past.invoked.get(step)
        if kind == "invoke" and None not in (detail, invoked) and detail != invoked:
            self._differ(Difference("invoked function", step, None, invoked, detail))

    def _compare_waits(self, known: PastStep, waited_for: str, waits_for: str, within: int | None) -> None:
        if waited_for != waits_for:
            self._differ(Difference("awaited event", known.id, None, cut(waited_for), cut(waits_for)))
        elif known.delay != within:
            self._differ(Difference("timeout of a wait", known.id, None, _patience(known.delay), _patience(within)))

    def answered(self, step: str) -> None:
        """The code has been given what history has of a step."""
        known = self.past.steps[step]
        if self._latest is None or known.started_at >= self._latest.started_at:
            self._latest = known

    def sends(self, step: str, events: list[SentEvent]) -> None:
        """The code would send these events in a step that history has; those that the log does not have (any more) cannot be compared."""
        known = self.past.steps[step]
        ids = msgspec.json.decode(known.result or "[]")
        if not isinstance(ids, list):
            return
        for id in ids[len(events) :]:
            self._differ(Difference("sent event", step, None, _told(self.past.sent.get(str(id)), str(id)), "none"))
        for place, event in enumerate(events):
            if place >= len(ids):
                self._differ(Difference("sent event", step, None, "none", _told(event)))
                continue
            if event.id != ids[place]:
                self._differ(Difference("sent event", step, None, f"id {ids[place]}", f"id {event.id}"))
            old = self.past.sent.get(event.id)
            if old is not None and _comparable(old) != _comparable(event):
                self._differ(Difference("sent event", step, None, _told(old), _told(event)))

    def ends(self, ended: RunEnded) -> None:
        """The code has come to its end. Where it fails as it did not before, what it left out for that reason is no news."""
        self.over = True
        old = self.past.ended
        if (
            self._left_out()
            and ended.error is not None
            and not _is_same(ended.error, None if old is None else old.error)
        ):
            self._differ(Difference("status", None, None, "running" if old is None else _end(old), _end(ended)))
        if self._leaves_out() or not self.past.concluded:
            return
        assert old is not None
        if old.status != ended.status:
            self._differ(Difference("status", None, None, _end(old), _end(ended)))
        elif ended.error is not None and old.error is not None:
            if not _is_same(ended.error, old.error):
                self._differ(Difference("error", None, None, _failure(old.error), _failure(ended.error)))
        elif canonical(old.result) != canonical(ended.result):
            self._differ(Difference("result", None, None, cut(old.result), cut(ended.result)))

    def waits(self) -> None:
        """The code waits for steps that have no answer, and for nothing else."""
        self.over = True
        left_out = self._left_out()
        if not (self.past.concluded or left_out):
            return
        new = [one for one in self._unanswered if one[0] not in self.past.steps]
        step, kind = (new or self._unanswered or [("", "")])[0]
        old = str(left_out[0]) if left_out else "its end"
        self._differ(Difference("new step", step, kind or None, old, None))

    def never_ends(self, seconds: float) -> None:
        """The code has not come to its end, nor asked for a step that it has to wait for, in so many seconds."""
        self.over = True
        self._differ(Difference("no end", None, None, self.past.status, f"nothing in {seconds:g} s outside of steps"))

    def _leaves_out(self) -> bool:
        left_out = self._left_out()
        if left_out:
            first = left_out[0]
            outcome = cut(first.result) if first.error is None else _failure(first.error)
            self._differ(Difference("step left out", first.id, first.kind, outcome, None))
        return bool(left_out)

    def _left_out(self) -> list[PastStep]:
        left = [step for step in self.past.steps.values() if step.id not in self._asked]
        return sorted(left, key=lambda step: (step.started_at, step.order))

    def _differ(self, difference: Difference) -> None:
        if self.difference is None:
            self.difference = difference


def canonical(text: str | bytes | None) -> bytes | None:
    """Return JSON in a form that is the same for the same value, whatever the order of its keys."""
    return None if text is None else msgspec.json.encode(msgspec.json.decode(text), order="sorted")


def cut(text: str | None) -> str | None:
    """Return a text, cut short where it is long."""
    return text if text is None or len(text) <= _CUT else f"{text[:_CUT]}... ({len(text):,} characters)"


def _record(steps: dict[str, PastStep], record: StepRecorded, order: int) -> None:
    known = steps.get(record.step_id)
    started_at = record.started_at if known is None else known.started_at
    delay, waits_for = (None, None) if known is None else (known.delay, known.waits_for)
    if record.status == "sleeping" and record.wake_at is not None:
        delay = record.wake_at - record.started_at
    if record.status == "waiting" and record.waits_for is not None:
        delay = None if record.wake_at is None else record.wake_at - record.started_at
        waits_for = record.waits_for
    about = (record.step_id, record.kind, record.status, order, record.attempt)
    outcome = (record.result, record.error, delay, waits_for, record.reason or "")
    steps[record.step_id] = PastStep(*about, started_at, record.at, *outcome)


def _comparable(event: SentEvent) -> tuple[str, bytes | None, bytes | None]:
    return event.name, event.key, canonical(event.data)


def _told(event: SentEvent | None, id: str = "") -> str:
    return f"id {id}" if event is None else cut(f"{event.name} {event.data.decode(errors='replace')}") or ""


def _failure(error: Failure) -> str:
    return cut(f"{error.type}: {error.message}") or ""


def _is_same(error: Failure, old: Failure | None) -> bool:
    return old is not None and (old.type, old.message) == (error.type, error.message)


def _end(ended: RunEnded) -> str:
    return ended.status if ended.error is None else f"{ended.status}, {_failure(ended.error)}"


def _patience(milliseconds: int | None) -> str:
    return "none" if milliseconds is None else _duration(milliseconds)


def _duration(milliseconds: int | None) -> str:
    return f"{(milliseconds or 0) / 1_000:g} s"
