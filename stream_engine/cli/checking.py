"""What other code of an app would make of the events of a time: each event is looked at, and the runs that it began are rehearsed.

What an event meant is what history says of it, and the catalogue in force; what it means is what the catalogue of the new code says. A function counts as
won or lost for an event only where the catalogue in force says otherwise: else one that was deployed in the midst of the time would count as new. The log
is read twice, first for what runs have sent and for the events of runs that have several, because they lie behind what began the run.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import Progress

from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.functions.flow import Flow
from stream_engine.core.functions.match import Matched
from stream_engine.core.functions.sources import Source
from stream_engine.core.instants import iso
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.envelope import Avro, Rejection
from stream_engine.core.routing.meant import Meant
from stream_engine.core.routing.receive import Message, receive
from stream_engine.core.views.rehearsal import Difference, Past, SentEvent
from stream_engine.sdk.engine import Engine
from stream_engine.shell import clients, topics
from stream_engine.shell.clock import now_ms
from stream_engine.shell.history.past import Pasts
from stream_engine.shell.history.reader import HistoryReader
from stream_engine.shell.operating import group_offsets
from stream_engine.shell.routing.avro_events import avro_decoder
from stream_engine.shell.routing.event_log import Spans, messages
from stream_engine.shell.settings import Settings
from stream_engine.testing.rehearsal import Rehearsal

_FIRST, _LAST = -1, 1 << 62
_NOTHING: Final = Matched([], [], [])
_UPDATE: Final = 200
_HANDLER: Final = ":"
_event: Final = msgspec.msgpack.Decoder(Event)

Shown = Callable[[str, int, int], None]
"""Shows how far something is, and of how much."""


class Wanted(NamedTuple):
    """Which runs are looked at: by the time in which their event was stored (``[since, until)``, milliseconds since the epoch), and filters."""

    since: int
    until: int
    function: str | None = None
    statuses: tuple[str, ...] = ()
    event: str | None = None

    def takes(self, past: Past) -> bool:
        """Return whether a run is wanted by what it is; that its event is, and in the time, has been seen."""
        return self.function in {None, past.started.function} and (not self.statuses or past.status in self.statuses)

    def means(self, past: Past) -> bool:
        """Return whether a run is wanted whose event is in the time, and cannot be read."""
        return self.takes(past) and self.event in {None, past.started.event_id}

    def means_apart(self, past: Past) -> bool:
        """Return whether a run is wanted whose event is not there; it was created when that came."""
        return self.means(past) and self.since <= past.started.created_at < self.until


class Gone(NamedTuple):
    """Partitions of a topic that do not have all of the time any more: all after ``since`` is there (milliseconds since the epoch); None where it ends before."""

    topic: str
    partitions: list[int]
    since: int | None


def gone(topic: str, there: Mapping[int, int], wanted: Wanted) -> Gone | None:
    """Return what a topic does not have of the time any more, if anything, by since when each partition has all (milliseconds since the epoch)."""
    short = {number: since for number, since in there.items() if since > wanted.since}
    if not short:
        return None
    since = max(short.values())
    return Gone(topic, sorted(short), since if since < wanted.until else None)


@dataclass
class Counts:
    """How many events were looked at, and runs rehearsed, and how many of both differ. And what was not looked at.

    All of it is of what is wanted. ``untold`` counts functions of events of which history says nothing, or which both catalogues do not have. ``expired`` has the runs whose events
    the log does not have any more, ``invoked`` counts runs that have none there, ``elsewhere`` those whose events are in topics that are not read any more, ``partly`` those
    that got events from outside of the time, ``replayed`` those of replays whose events have begun no live run of their function, ``unread`` those whose events cannot be read here, for the first of them ``unread_because`` of this.
    ``gone`` says of which part of the time the log may have lost events, whose runs history may have forgotten with them.
    """

    events: int = 0
    runs: int = 0
    differing: int = 0
    untold: int = 0
    expired: list[str] = field(default_factory=list)
    invoked: int = 0
    elsewhere: int = 0
    partly: int = 0
    replayed: int = 0
    unread: int = 0
    unread_because: str = ""
    gone: list[Gone] = field(default_factory=list)


class _Found(NamedTuple):
    """Where the time lies in a topic, and from there to its end."""

    wanted: Spans
    to_end: Spans


class _Log(NamedTuple):
    """A topic with events. ``old`` says whether the catalogue in force reads it, ``new`` whether the new code does; if it is a topic of others, as which sources."""

    topic: str
    id: str
    old: bool = True
    new: bool = True
    old_source: Source | None = None
    new_source: Source | None = None


class Checking:
    """Looks at what an app's new code would make of events; see the module.

    What differs is kept by ``pasts``, as JSON, in the order in which it was found.
    """

    def __init__(self, settings: Settings, engine: Engine, in_force: Catalogue, wanted: Wanted, pasts: Pasts) -> None:
        self.counts = Counts()
        self._settings = settings
        self._engine = engine
        self._old = in_force
        self._new = engine.catalogue()
        self._checks = engine.checks()
        self._wanted = wanted
        self._pasts = pasts
        self._partitions = 1
        self._gathering = {id for id, spec in self._new.functions.items() if _gathers(spec.flow)}

    async def check(self, rehearsal: Rehearsal) -> None:
        """Look at all.

        Raises:
            UserError: Kafka does not answer, or has no such app.
            StandInError: the code needs the lifespan.
        """
        with _progress() as shown:
            self._read_history(shown)
            avro = avro_decoder(self._settings.schemas)
            logs = self._logs()
            spans = {log.topic: self._spans(log.topic) for log in logs}
            for log in logs:
                for message in self._read("reading events", log, spans[log.topic].to_end, shown):
                    event = _received(message, avro, log)
                    if not isinstance(event, Rejection):
                        self._note(event)
            for log in logs:
                for message in self._read("checking runs", log, spans[log.topic].wanted, shown):
                    event = _received(message, avro, log)
                    if isinstance(event, Rejection):
                        self._note_unread(message, event)
                    elif self._wanted.event in (None, event.id):
                        self.counts.events += 1
                        received = receive(message, self._checks, avro, source=log.new_source)
                        await self._judge(rehearsal, log, event, received)
        self.counts.invoked, self.counts.elsewhere = self._apart(invoked=True), self._apart(invoked=False)
        if self._wanted.event is not None and self.counts.events:
            # It is there, whatever is not.
            self.counts.gone = []

    def _logs(self) -> list[_Log]:
        admin = clients.admin(self._settings)
        own = self._engine.events_topic
        old, new = self._old.sources, {one.topic: one for one in self._engine.sources}
        found = [_Log(own, topics.topic_id(admin, own))]
        for topic in sorted(old.keys() | new.keys()):
            # What the new code reads has to be there; what it does not read any more may be gone.
            if topic in new or topic in admin.list_topics().topics:
                reads = topic in old, topic in new
                found.append(_Log(topic, topics.topic_id(admin, topic), *reads, old.get(topic), new.get(topic)))
        return found

    def _read(self, what: str, log: _Log, spans: Spans, shown: Shown) -> Iterator[Message]:
        total = sum(stop - start for start, stop in spans.values())
        for number, message in enumerate(messages(self._settings, log.topic, log.id, spans)):
            if number % _UPDATE == 0:
                shown(what, number, total)
            yield message

    def _read_history(self, shown: Shown) -> None:
        with HistoryReader(self._settings, self._engine.name) as reader:
            numbers = reader.partitions()
            self._partitions = len(numbers)
            span = reader.span(numbers, self._wanted.since)
            for batch in reader.read(span, progress=lambda done, total: shown("reading history", done, total)):
                self._pasts.take(batch)

    def _spans(self, topic: str) -> _Found:
        """Return where the time lies in a topic, and from there to its end; note what is gone of it, and which runs have lost their events."""
        kept = group_offsets.kept_since(clients.admin(self._settings), topic, now_ms())
        consumer = clients.reader(self._settings)
        try:
            first = group_offsets.at(consumer, topic, self._wanted.since, kept)
            last = group_offsets.at(consumer, topic, self._wanted.until, kept)
            there = {number: clients.offsets(consumer, topic, number) for number in first}
        finally:
            consumer.close()
        missing = gone(topic, {number: one.since for number, one in first.items()}, self._wanted)
        if missing is not None and self._concerns(topic):
            self.counts.gone.append(missing)
        for number, left in there.items():
            lost = (self._pasts.of(run) for run in self._pasts.before((topic, number, left.start)))
            self.counts.expired += [
                one.started.run_id for one in lost if one is not None and self._wanted.means_apart(one)
            ]
        spans = {number: (one.offset, max(one.offset, last[number].offset)) for number, one in first.items()}
        return _Found(spans, {number: (start, there[number].stop) for number, (start, _) in spans.items()})

    def _note(self, event: Event) -> None:
        """Keep an event that a run has sent, or that is one of several of a run."""
        if event.sender is not None:
            self._pasts.sent(event.sender, SentEvent(event.id, event.name, event.key, event.data))
        place = event.topic, event.partition, event.offset
        found = self._pasts.members(place)
        for function, run in self._pasts.begun(place) if self._gathering else ():
            if function in self._gathering:
                batch = self._new.functions[function].flow.batch
                found.append((run, _LAST if batch is None else _FIRST))
        for run, told in found:
            self._pasts.gather(run, told, place, msgspec.msgpack.encode(event))

    def _note_unread(self, message: Message, rejection: Rejection) -> None:
        """Count the runs of a message that is no event here, and was one where it was routed."""
        begun = self._pasts.begun((message.topic, message.partition, message.offset))
        pasts = (self._pasts.of(run) for _, run in begun)
        runs = sum(past is not None and self._wanted.means(past) for past in pasts)
        self.counts.unread += runs
        self.counts.unread_because = self.counts.unread_because or (rejection.detail if runs else "")

    async def _judge(self, rehearsal: Rehearsal, log: _Log, event: Event, received: Event | Rejection) -> None:
        """Judge what an event means, function by function, and the runs that it has begun; ``received`` is what it is to the new code."""
        place = event.topic, event.partition, event.offset
        begun = dict(self._pasts.begun(place))
        told = self._pasts.disposed(place) | begun.keys()
        rejection = received if isinstance(received, Rejection) else None
        known = event if isinstance(received, Rejection) else received
        old = Meant(self._old.match(event, self._partitions) if log.old else _NOTHING)
        new = Meant(self._new.match(known, self._partitions) if log.new else _NOTHING, rejection)
        for function in sorted(old.functions | new.functions | begun.keys()):
            if self._wanted.function not in (None, function):
                continue
            past = self._pasts.of(begun[function]) if function in begun else None
            difference = old.difference(function, new)
            if past is not None:
                if self._wanted.takes(past):
                    meant = function in new.functions or _HANDLER in function
                    await self._judge_run(rehearsal, known, past, difference, meant=meant)
            elif not self._wanted.statuses and difference is not None and difference.what != "no run":
                self._differs(event, function, None, difference)
            elif function not in told:
                self._note_untold(self._pasts.again(place, function))

    def _note_untold(self, again: list[str]) -> None:
        """Count a pair of an event and a function of which nothing live is known: by the runs of replays, or as what history says nothing of."""
        pasts = (self._pasts.of(run) for run in again if run)
        self.counts.replayed += sum(past is not None and self._wanted.takes(past) for past in pasts)
        # What began no run has no status.
        if not again and not self._wanted.statuses:
            self.counts.untold += 1

    async def _judge_run(
        self, rehearsal: Rehearsal, event: Event, past: Past, difference: Difference | None, *, meant: bool
    ) -> None:
        function = past.started.function
        if difference is not None and difference.what == "new run":
            # The catalogue in force does not have it for this event, and did when the run began.
            difference = None
        if difference is None and not meant:
            self.counts.untold += 1
            return
        if difference is None and not rehearsal.has(function):
            difference = Difference("no run")
        self.counts.runs += 1
        if difference is None:
            events = self._events(past)
            if events is None:
                self.counts.runs -= 1
                self.counts.partly += 1
                return
            difference = await rehearsal.rehearse(past, event, events)
        if difference is not None:
            self._differs(event, function, past, difference)

    def _events(self, past: Past) -> list[Event] | None:
        """Return the events of a run, where it has several; None if some of them are not in the part of the log that was read."""
        run = past.started.run_id
        taken = self._pasts.taken(run) if past.started.function in self._gathering else 0
        if not taken:
            return []
        gathered = self._pasts.gathered(run)
        return None if len(gathered) <= taken else [_event.decode(one) for one in gathered]

    def _apart(self, *, invoked: bool) -> int:
        """Return how many runs are wanted that have no event in what is read: those that were invoked, or the others."""
        pasts = (self._pasts.of(run) for run in self._pasts.apart(invoked=invoked))
        return sum(past is not None and self._wanted.means_apart(past) for past in pasts)

    def _concerns(self, topic: str) -> bool:
        """Return whether a topic may have events of what is wanted."""
        function, own = self._wanted.function, self._engine.events_topic
        if function is None:
            return True
        of = [one for one in (self._old, self._new) if function in one.functions]
        ticks = any(one.functions[function].crons for one in of)
        return topic in {own if ticks else "", *(name or own for one in of for name in one.topics_of(function))}

    def _differs(self, event: Event, function: str, past: Past | None, difference: Difference) -> None:
        self.counts.differing += 1
        document: dict[str, Any] = {
            "at": iso(event.timestamp),
            "event_id": event.id,
            "event_name": event.name,
            "function": function,
            "run_id": None if past is None else past.started.run_id,
            "version": None if past is None else past.version,
            "status": None if past is None else past.status,
            "difference": difference,
        }
        self._pasts.keep(msgspec.json.encode(document))


def _received(message: Message, avro: Avro | None, log: _Log) -> Event | Rejection:
    """Return what a message has been, or where it was not read, what it is."""
    return receive(message, {}, avro, source=log.old_source if log.old else log.new_source)


def _gathers(flow: Flow) -> bool:
    """Return whether a run may have several events."""
    return flow.batch is not None or (flow.debounce is not None and flow.debounce.keep == "all")


@contextmanager
def _progress() -> Iterator[Shown]:
    """Show on a terminal's stderr how far everything is."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
