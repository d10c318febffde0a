"""Runs that operators begin: again, of an event from the log with a link to the first one, or of a dead letter, for the function that it was of no use to.

They are entries that are sent to where they are decided upon first, past the router; a name of its own makes each a run of its own.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.functions.match import Matched
from stream_engine.core.identity import digest, home_partition, partition_of, run_id, run_name
from stream_engine.core.records.history import RunStarted
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Asked, Collect, Entry, Pass, Reused, Span
from stream_engine.core.routing.dead_letter import Letter
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.parcels import Parcels, unnumbered
from stream_engine.core.routing.receive import Message, receive
from stream_engine.core.stages.batch import BATCHED
from stream_engine.core.stages.entering import next_stop
from stream_engine.core.stages.reuse import composition, excess
from stream_engine.shell import clients, topics
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.reader import Progress
from stream_engine.shell.routing.avro_events import avro_decoder
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_SECONDS = 30
_SMALL = 300
_GATES = frozenset({"throttle", "concurrency"})


class CannotRerunError(UserError):
    """One run cannot be run again; the message says why, and names the run or what is wrong with its event."""


class Again(NamedTuple):
    """What is to be run again, and how; ``others`` are the events of the run besides its own."""

    run: str
    started: RunStarted
    event: Event
    others: tuple[Event, ...]
    reused: tuple[Reused, ...]
    version: str
    new_keys: bool


class Begun(NamedTuple):
    """An entry that begins a run, and the events that the run has besides the entry's own."""

    entry: Entry
    others: tuple[Event, ...] = ()


class Entries:
    """Makes entries of an app that begin runs, and sends them."""

    def __init__(self, settings: Settings, names: Names, catalogue: Catalogue, now: int) -> None:
        self._settings = settings
        self._names = names
        self._catalogue = catalogue
        self._now = now
        self._admin = clients.admin(settings)
        self._partitions = topics.partition_count(self._admin, names.commands)
        self._avro = avro_decoder(settings.schemas)

    def again(self, again: Again) -> Begun:
        """Return what begins a run that runs again. Concurrency and throttles hold for it; what decides whether there is a run does not.

        Raises:
            CannotRerunError: what it takes over is too much for one command.
        """
        wrong = excess(again.reused)
        if wrong is not None:
            raise CannotRerunError(
                f"run {again.run} cannot be taken up: {wrong}; run it again from an earlier step, or as a whole"
            )
        event, function = again.event, again.started.function
        name = digest(again.run, "rerun", uuid4().hex)
        matched = self._catalogue.match(event, self._partitions, again.started.replay_id)
        gates = next((one for one in matched.asked if one.function == function), Asked(function, ()))
        own = [(one.topic, one.partition, one.offset) for one in (event, *again.others)]
        entry = Entry(
            run_id(name, gates.home if gates.home >= 0 else partition_of(again.run)),
            function,
            name if again.new_keys else run_name(self._names.app, function, event.identity, None),
            self._now,
            max(0, self._now - gates.head_start),
            tuple(gate for gate in gates.gates if gate.kind in _GATES),
            event,
            again.started.replay_id,
            reused=again.reused,
            rerun_of=again.run,
            version=again.version,
            reused_of=composition(own),
        )
        return Begun(entry, again.others)

    def of_letter(self, letter: Letter) -> list[Begun]:
        """Return the entries by which the function that could not be served gets the event of a dead letter, with all its gates; or all, if it was
        no event of a source.

        Raises:
            UserError: it is still of no use, or is for none any more.
        """
        topic_id = topics.topic_id(self._admin, letter.topic)
        place = letter.topic, topic_id, letter.partition, letter.offset
        message = Message(*place, letter.at, letter.key, letter.value, letter.headers)
        event = receive(message, {}, self._avro, source=self._catalogue.sources.get(letter.topic))
        if isinstance(event, Rejection):
            raise UserError(f"dead letter {letter.id} is still no event: {event.detail}. Nothing was sent")
        found = _of(self._catalogue.match(event, self._partitions, None), letter.function)
        if found.unfit:
            part = found.unfit[0]
            raise UserError(
                f"dead letter {letter.id} is still of no use to {part.function}: {part.detail}. Deploy what mends it first; nothing was sent"
            )
        asked = [*(Asked(function, ()) for function in found.functions), *found.asked]
        if not asked:
            whom = letter.function or f"any function of {self._names.app}"
            raise UserError(f"the event of dead letter {letter.id} is not for {whom} any more. Nothing was sent")
        return [Begun(self._entry(event, one)) for one in asked]

    def _entry(self, event: Event, asked: Asked) -> Entry:
        name = digest(self._names.app, asked.function, event.identity, "retry", uuid4().hex)
        home = asked.home if asked.home >= 0 else home_partition(event.identity, self._partitions)
        return Entry(
            run_id(name, home),
            asked.function,
            run_name(self._names.app, asked.function, event.identity, None),
            self._now,
            max(0, self._now - asked.head_start),
            asked.gates,
            event,
        )

    def send(self, begun: Sequence[Begun], progress: Progress) -> None:
        """Have runs begin; return once Kafka has all of it.

        Raises:
            UserError: Kafka did not take one.
        """
        producer, failures, taken = clients.producer(self._settings), list[str](), 0
        records = [record for one in begun for record in _records(one)]

        def delivered(error: Any, _: Any) -> None:
            nonlocal taken
            if error is not None:
                failures.append(error.str())
            else:
                taken += 1
                progress(taken, len(records))

        for partition, value in records:
            while True:
                try:
                    producer.produce(self._names.commands, value, None, partition, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        if producer.flush(_SECONDS) or failures:
            raise UserError(
                f"Kafka took {taken} of {len(records)} records of commands to {self._names.commands}: {failures[:1] or 'no answer'}"
            )


def _of(matched: Matched, function: str | None) -> Matched:
    if function is None:
        return matched
    return Matched(
        [one for one in matched.functions if one == function],
        [one for one in matched.asked if one.function == function],
        [one for one in matched.unfit if one.function == function],
    )


def _records(begun: Begun) -> list[tuple[int, bytes]]:
    """Return the records of commands by which a run begins, with their partitions, in their order: its events first, where it has several."""
    entry, home, parcels = begun.entry, partition_of(begun.entry.run_id), Parcels(unnumbered)
    events = (entry.event, *begun.others) if begun.others else ()
    for number, event in enumerate(events):
        parcels.add(home, 0, Collect(entry.run_id, number, event), _SMALL + len(event.data))
    span = Span(entry.run_id, len(events), BATCHED) if events else None
    parcels.add(home if events else next_stop(entry), 0, Pass(entry, span), _SMALL)
    return parcels.take()
