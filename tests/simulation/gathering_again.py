"""Watches the debounces and batches of replays, which go by the time of their events: what was far apart then is never one, and what was close together is not torn apart.

What comes later than gates hold is late here as it is live, so the judge follows the order in which a gate has taken its events; how long it waited for more,
after the last had come, is by its journal.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from stream_engine.core.functions.flow import Debounce, Flow
from stream_engine.core.records.history import TAKEN_ALONG, EventDisposed
from stream_engine.core.records.journal import Event
from stream_engine.core.records.tables import Run

Place = tuple[int, int]
Object = Callable[[int, str], None]

PATIENCE = 10_000
"""How long a gate of a replay waits at least for more, in milliseconds."""


class Times(NamedTuple):
    """When an event is: its ``ts``, its time on the log, and its moment in a replay."""

    ts: int
    timestamp: int
    moment: int


@dataclass
class _Quiet:
    """A debounce that waits for quiet: its newest event, since which moment, until when, when the last came, by the clock, and of which function and replay."""

    newest: Place
    since: int
    due: int
    came_at: int
    run_id: str
    whose: tuple[str, str]


class GatheringAgain:
    """Knows what the debounces and batches of replays hold."""

    def __init__(self, object_: Object, times: Callable[[Place, str], Times]) -> None:
        self._object = object_
        self._times = times
        self._quiet: dict[str, _Quiet] = {}
        self._follows: dict[str, str] = {}
        self._opened: dict[str, int] = {}
        self._closed: dict[str, int] = {}
        self._moments: defaultdict[tuple[str, str, str], set[int]] = defaultdict(set)
        self._early: list[tuple[_Quiet, int]] = []

    def opened(self, name: str, now: int) -> None:
        """Note that a batch gathers."""
        self._opened.setdefault(name, now)

    def closed(self, gate: str, name: str, now: int, flow: Flow) -> None:
        """Note that a buffer is gone at the end of a record; the debounce has been quiet for long enough then."""
        self._closed.setdefault(name, now)
        known = self._quiet.pop(gate, None)
        if known is not None and flow.debounce is not None and now < known.came_at + _patience(flow.debounce.period):
            self._early.append((known, now))

    def came(self, told: EventDisposed, flow: Flow, now: int) -> None:
        """Take what history tells of an event at a debounce or batch, in its order."""
        assert told.replay_id is not None
        place = told.partition, told.offset
        when = self._times(place, told.replay_id)
        self._moments[told.function, told.replay_id, told.gate_key].add(when.moment)
        if flow.debounce is None or (told.disposition == "queued" and told.detail.startswith(TAKEN_ALONG)):
            return
        if told.disposition == "queued":
            self._newest(told, flow.debounce, when, now)
            return
        known = self._quiet.get(told.gate_id)
        if known is not None and known.newest == place:
            self._follows[told.gate_id] = told.detail.removeprefix(TAKEN_ALONG)
        elif known is None or when.moment >= known.due:
            self._object(5, f"{told} is taken by {known}, whose time was over at its moment {when.moment}")

    def _newest(self, told: EventDisposed, debounce: Debounce, when: Times, now: int) -> None:
        known = self._quiet.get(told.gate_id)
        is_next = self._follows.pop(told.gate_id, None) is not None
        due, place = when.moment + debounce.period, (told.partition, told.offset)
        whose = told.function, told.replay_id or ""
        if known is None or not is_next:
            if known is not None and when.moment < known.due:
                self._object(5, f"{told} of the moment {when.moment} begins anew, and belongs to {known}")
            self._quiet[told.gate_id] = _Quiet(place, when.moment, due, now, told.run_id, whose)
            return
        before = self._times(known.newest, told.replay_id or "")
        if when.moment >= known.due or (when.ts, when.timestamp, *place) < (
            before.ts,
            before.timestamp,
            *known.newest,
        ):
            self._object(5, f"{told} of {when} takes the place of the newest of {known}, of {before}")
        if debounce.max_wait is not None:
            due = max(known.due, min(due, known.since + debounce.max_wait))
        self._quiet[told.gate_id] = _Quiet(place, known.since, due, now, told.run_id, whose)

    def judge_batch(self, run: Run, name: str, events: list[Event], flow: Flow) -> None:
        """Judge the events of a batch that nothing was taken out of."""
        assert run.replay_id is not None
        assert flow.batch is not None
        moments = [self._times((event.partition, event.offset), run.replay_id).moment for event in events]
        due = moments[0] + flow.batch.timeout
        if any(moment >= due for moment in moments):
            self._object(5, f"{name} has events of the moments {moments} within {flow.batch.timeout} ms")
        opened, closed = self._opened.get(name, 0), self._closed.get(name, 0)
        is_patient = name in self._closed and closed >= opened + _patience(flow.batch.timeout)
        later = any(
            moment >= due
            for (function, replay, _), all_ in self._moments.items()
            for moment in all_
            if (function, replay) == (run.function, run.replay_id)
        )
        if len(events) < flow.batch.size and not is_patient and not later:
            self._object(5, f"{name} has only {moments}, and gathered from {opened} to {closed}")

    def over(self, disposed: list[EventDisposed]) -> None:
        """Judge the end: who went on early was cancelled, or had come to its end by one that was cancelled then."""
        cancelled = [told for told in disposed if told.disposition == "cancelled" and told.replay_id is not None]
        for known, now in self._early:
            is_over = any(
                told.run_id == known.run_id
                or (
                    (told.function, told.replay_id) == known.whose
                    and self._times((told.partition, told.offset), known.whose[1]).moment >= known.due
                )
                for told in cancelled
                if told.topic
            )
            if not is_over:
                self._object(5, f"{known} goes on at {now}, although more may follow")


def _patience(period: int) -> int:
    return max(period, PATIENCE)
