"""Watches debounces and batches, record by record of all journals: that they wait as long as declared, and that no event is in two runs, or in none."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from stream_engine.core.records.history import EventDisposed
from stream_engine.core.records.journal import Decided, Event
from stream_engine.core.records.tables import BUFFERS, DISMISSED, GATHERED, RUNS, Buffer, Run, parts
from tests.simulation.fold import NaiveFold
from tests.simulation.gatekeeper import Object
from tests.simulation.gathering_again import GatheringAgain
from tests.simulation.programs import SimFunction

Place = tuple[int, int]


@dataclass
class _Open:
    """What an owner gathers: since when, with what last, by its journal."""

    function: str
    name: str
    since: int
    newest_at: int
    latest: Buffer
    places: dict[Place, tuple[int, int, int, int]] = field(default_factory=dict)


class Gathering:
    """Knows what each debounce and batch holds, and what became of it; ``event_at`` has the ``ts`` and timestamp of an event by its place."""

    def __init__(
        self,
        object_: Object,
        functions: dict[str, SimFunction],
        event_at: Callable[[Place], tuple[int, int]],
        again: GatheringAgain,
    ) -> None:
        self._object = object_
        self._again = again
        self._replays: dict[str, Buffer] = {}
        self._functions = functions
        self._event_at = event_at
        self._delayed: set[tuple[str, Place]] = set()
        self._open: dict[str, _Open] = {}
        self._dismissed: set[str] = set()
        self._closed: dict[str, tuple[_Open, int]] = {}
        self._spans: dict[str, tuple[str, Run]] = {}
        self._early: dict[str, str] = {}
        self._gathered: defaultdict[str, dict[int, Event]] = defaultdict(dict)
        self._removed: defaultdict[str, list[Event]] = defaultdict(list)
        self._unseen: Counter[str] = Counter()

    def counted(self, fold: NaiveFold, record: Decided) -> None:
        """Take a record that counts, and that ``fold`` has not taken yet."""
        arrivals: defaultdict[str, list[EventDisposed]] = defaultdict(list)
        for told in record.history:
            if isinstance(told, EventDisposed) and told.gate in ("debounce", "batch"):
                if told.replay_id is None:
                    arrivals[told.gate_id].append(told)
                else:
                    self._again.came(told, self._functions[told.function].flow, record.now)
            elif isinstance(told, EventDisposed) and told.disposition == "delayed":
                self._delayed.add((told.function, (told.partition, told.offset)))
        self._dismissed.update(parts(key)[0] for key, _ in record.puts if key.startswith(DISMISSED.prefix))
        self._drop(fold, record, {gate: queued[-1] for gate, told in arrivals.items() if (queued := _queued(told))})
        for key, value in record.puts:
            if key.startswith(BUFFERS.prefix):
                gate, buffer = parts(key)[0], BUFFERS.decode(value)
                if buffer.entry.replay_id is None:
                    self._put(gate, buffer, record.now, arrivals[gate])
                else:
                    self._put_again(gate, buffer, record.now)
            elif key.startswith(GATHERED.prefix):
                name, number = _numbered(key)
                self._gathered[name][number] = GATHERED.decode(value)
            elif key.startswith(RUNS.prefix) and (run := RUNS.decode(value)).span is not None:
                self._spans.setdefault(run.span.name, (parts(key)[0], run))

    def _drop(self, fold: NaiveFold, record: Decided, newest: dict[str, str]) -> None:
        """Take what is gone at the end of a record; ``newest`` are the runs that came last within it, by their gates."""
        for key in record.deletes:
            if key.startswith(BUFFERS.prefix) and key in fold.data:
                gate = parts(key)[0]
                if gate in self._replays:
                    self._close_again(gate, record.now)
                else:
                    self._close(gate, record.now, newest.get(gate))
            elif key.startswith(GATHERED.prefix):
                name, number = _numbered(key)
                # Before the batch has started, it was taken out of it.
                if name not in self._spans and number in self._gathered[name]:
                    self._removed[name].append(self._gathered[name].pop(number))
                elif name not in self._spans:
                    # It came and went within one record: what cancels it had been there before.
                    self._unseen[name] += 1

    def _put_again(self, gate: str, buffer: Buffer, now: int) -> None:
        known = self._replays.get(gate)
        if known is not None and known.name != buffer.name and known.is_batch:
            self._close_again(gate, now)
        self._replays[gate] = buffer
        self._again.opened(buffer.name, now)

    def _close_again(self, gate: str, now: int) -> None:
        buffer = self._replays.pop(gate)
        if buffer.entry.run_id not in self._dismissed:
            self._again.closed(gate, buffer.name, now, self._functions[buffer.entry.function].flow)

    def _put(self, gate: str, buffer: Buffer, now: int, arrivals: list[EventDisposed]) -> None:
        known = self._open.get(gate)
        if known is not None and (known.name, known.since) != (buffer.name, buffer.since):
            self._close(gate, now)
            known = None
        if known is None:
            known = self._open[gate] = _Open(buffer.entry.function, buffer.name, buffer.since, now, buffer)
            if buffer.since != now:
                self._object(5, f"{buffer.name} gathers since {buffer.since}, and was opened at {now}")
        elif any(self._comes_late(told, known) for told in arrivals) and now >= self._due(known):
            self._object(5, f"{known.name} takes events at {now}, and was to be complete at {self._due(known)}")
        before = max(known.places.values(), default=None)
        for told in arrivals:
            place = (told.partition, told.offset)
            known.places.setdefault(place, (*self._event_at(place), *place))
        if max(known.places.values(), default=None) != before:
            known.newest_at = now
        known.latest = buffer

    def _comes_late(self, told: EventDisposed, known: _Open) -> bool:
        """Return whether an event cannot have come before the end: one that waits for its ``ts`` comes then, however late that is noticed."""
        place = (told.partition, told.offset)
        if place in known.places:
            return False
        return (told.function, place) not in self._delayed or self._event_at(place)[0] >= self._due(known)

    def _due(self, known: _Open) -> int:
        """Return when it is to go on, by what is declared."""
        flow = self._functions[known.function].flow
        if flow.batch is not None:
            return known.since + flow.batch.timeout
        assert flow.debounce is not None
        most = flow.debounce.max_wait
        due = known.newest_at + flow.debounce.period
        return due if most is None else min(due, known.since + most)

    def _close(self, gate: str, now: int, last: str | None = None) -> None:
        known = self._open.pop(gate)
        self._closed[known.name] = (known, now)
        flow, run_id = self._functions[known.function].flow, last or known.latest.entry.run_id
        if flow.debounce is None or run_id in self._dismissed:
            # Who is cancelled goes to where its events are, in order to be let go of there.
            return
        if now < self._due(known):
            # Unless it was taken out, because its run is cancelled, which may be told elsewhere.
            self._early[run_id] = f"{known.name} goes on at {now}, and was to be quiet until {self._due(known)}"
            return
        event = known.latest.entry.event
        newest = max(known.places.values())[2:]
        if (event.partition, event.offset) != newest:
            self._object(1, f"{known.name} goes on with {event.offset}, and the newest event is at {newest}")

    def over(self, disposed: list[EventDisposed]) -> None:
        """Judge the end: what runs had, and that no event was in two of one function."""
        cancelled = {told.run_id for told in disposed if told.disposition == "cancelled"}
        let_go = {(told.function, told.partition, told.offset) for told in disposed if told.disposition == "cancelled"}
        for run_id, early in self._early.items():
            if run_id not in cancelled:
                self._object(5, early)
        batched: defaultdict[str, set[Place]] = defaultdict(set)
        for told in disposed:
            if told.disposition == "batched":
                batched[told.run_id].add((told.partition, told.offset))
        self._again.over(disposed)
        taken: dict[tuple[str, str | None, Place], str] = {}
        for name, (run_id, run) in self._spans.items():
            events = [event for _, event in sorted(self._gathered[name].items())]
            places = {(event.partition, event.offset) for event in events}
            for place in places:
                about = run.function, run.replay_id, place
                if taken.setdefault(about, run_id) != run_id:
                    self._object(1, f"the event at {place} is in {run_id} and in {taken[about]}")
            self._judge(name, run_id, run, events)
            lost = [one for one in self._removed[name] if (run.function, one.partition, one.offset) not in let_go]
            if lost:
                self._object(1, f"{run_id} lacks {lost}, and nobody was told that they were taken out")
            if run.span is not None and run.span.told and len(places - batched[run_id]) != 1:
                self._object(1, f"{run_id} has {places}, and {batched[run_id]} are told to be batched")

    def _judge(self, name: str, run_id: str, run: Run, events: list[Event]) -> None:
        """Judge the events of one run: all of them, of one key, no more than declared, and no fewer before the time is over."""
        assert run.span is not None
        flow = self._functions[run.function].flow
        most = run.span.count - len(self._removed[name]) - self._unseen[name]
        if len(events) != most:
            self._object(1, f"{run_id} of {run.function} was to get {most} events, and got {len(events)}")
        gathers = flow.debounce or flow.batch
        if gathers is not None and gathers.key is not None and len({event.name for event in events}) > 1:
            self._object(5, f"{run_id} has events of several keys: {events}")
        if flow.batch is None:
            return
        if run.replay_id is not None:
            if len(events) > flow.batch.size:
                self._object(5, f"{run_id} has {len(events)} events of {flow.batch.size}")
            if not self._removed[name] and not self._unseen[name]:
                self._again.judge_batch(run, name, events, flow)
            return
        known = self._closed.get(name)
        # One that was opened and complete within one record is full.
        is_early = known is None or known[1] < self._due(known[0])
        if len(events) > flow.batch.size or (len(events) < flow.batch.size and is_early):
            self._object(5, f"{run_id} has {len(events)} events of {flow.batch.size}; it gathered as {known}")


def _queued(told: list[EventDisposed]) -> list[str]:
    return [one.run_id for one in told if one.disposition == "queued" and one.run_id is not None]


def _numbered(key: bytes) -> tuple[str, int]:
    """Return the span that an event is gathered for, and its number there."""
    return key[1:-9].decode(), int.from_bytes(key[-8:], "big")
