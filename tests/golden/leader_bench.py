"""Drives a `Candidate` and a `Leader` by hand, and writes down what passes through the seam, for people to read."""

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

import msgspec

from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import Change, Committed, DeposedError, Take
from stream_engine.core.partition.outbox import entry_parts
from stream_engine.core.partition.room import Room
from stream_engine.core.partition.turn import Function, Rules
from stream_engine.core.records.decoding import decode_commands, decode_journal
from stream_engine.core.records.journal import Decided, Event, Mark
from stream_engine.core.records.origin import Logs, Origin
from stream_engine.core.records.requests import Admit, Command, Commands
from stream_engine.core.records.tables import (
    ENDED,
    EVENTS,
    FOLDED,
    INTAKE,
    OUTBOX,
    RUNS,
    SEQUENCES,
    STEPS,
    TIMERS,
    WAITING,
    Outgoing,
    Table,
    parts,
    timed_parts,
)
from stream_engine.core.stages.commands import Input
from tests.simulation.store import SimStore

_DIGEST = re.compile(r"\b[0-9a-f]{24}\b")

ORIGIN = Origin(Logs("C", "J", "K", 2), 0)
SOURCE = "events/E/0/"
FUNCTIONS = (Function("pay", ("1",), on_failure="sorry"), Function("sorry", ("1",)))

_TABLES: dict[bytes, tuple[str, Table[Any]]] = {
    table.prefix: (name, table)
    for name, table in (
        ("folded", FOLDED),
        ("run", RUNS),
        ("event", EVENTS),
        ("step", STEPS),
        ("ended", ENDED),
        ("timer", TIMERS),
        ("intake", INTAKE),
        ("outbox", OUTBOX),
        ("sequence", SEQUENCES),
        ("waiting", WAITING),
    )
}


def event(offset: int, event_id: str | None = None, ts: int = 1_000) -> Event:
    """Return an event as the router sends it."""
    identity = f"id:{event_id}" if event_id else f"at:E/0/{offset}"
    name = event_id or f"events/0/{offset}"
    return Event("order/placed", identity, name, ts, 1_000, "events", 0, offset, b'{"total":7}')


def routed(at: int, *offsets: int, floor: int = 0, event_id: str | None = None, ts: int = 1_000) -> Take:
    """Return a record of the commands topic as a router writes it: one event to admit for each offset."""
    items: list[tuple[int, Command]] = [(offset, Admit(event(offset, event_id, ts), ["pay"])) for offset in offsets]
    return Take(at, Commands(SOURCE, floor, items))


class Bench:
    """One partition's journal, a store for each worker, and the transcript."""

    def __init__(self, functions: Sequence[Function] = FUNCTIONS, partition: int = 0) -> None:
        self.places = 1_000
        self.lines: list[str] = []
        self.journal: list[bytes] = []
        self.run_id = ""
        self._stores: dict[str, SimStore] = {}
        self._partition = partition
        self._functions = functions

    def say(self, text: str) -> None:
        """Write down what happens next, in words."""
        self.lines.extend(["", f"# {text}"])

    def elect(self, worker: str, at: int, functions: Sequence[Function] | None = None) -> Leader:
        """Have a worker claim the lead, recover, and lead."""
        store = self._stores.setdefault(worker, SimStore())
        self._call(f"{worker} campaigns at {at}")
        candidate = Candidate(worker, store, ORIGIN)
        self.append(candidate.campaign(at))
        to_read = candidate.elected(len(self.journal) - 1)
        self._note(f"read {to_read.start}..{to_read.stop - 1}")
        for offset in to_read:
            change = candidate.replay(offset, self.journal[offset])
            self._note(f"replay {offset}: {'does not count, or is known' if change is None else ''}")
            if change is not None:
                self._write(store, change)
        known = {function.id: function for function in functions or self._functions}
        room = Room(self.places)
        leader = candidate.lead(Rules("shop", known, 2, "commands", "journal/J/0", self._partition, room=room))
        recovered = leader.recovered()
        for key, message in recovered.sends:
            self._note(f"send again {_key(key)}: {_message(message)}")
        for told in recovered.told:
            self._note(f"tell again {_mark(told.mark)}: {', '.join(map(_value, told.records))}")
        return leader

    def append(self, raw: bytes) -> int:
        """Append to the journal; return the offset."""
        self.journal.append(raw)
        record = decode_journal(raw)
        if isinstance(record, Decided):
            self._note(f"append {len(self.journal) - 1}: epoch {record.epoch} n {record.n} now {record.now}")
            self._note(f"       commands from {record.commands}, told {_mark(record.told)}")
        else:
            self._note(f"append {len(self.journal) - 1}: {_value(record)}")
        return len(self.journal) - 1

    def decide(self, leader: Leader, now: int, *inputs: Take | Input) -> bytes | None:
        """Have a leader decide, and no more."""
        self._call(f"decide at {now}: {'; '.join(map(_input, inputs)) or 'nothing new'}")
        raw = leader.decide([*inputs], now)
        if raw is None:
            self._note("nothing to append")
        return raw

    def acknowledge(self, worker: str, leader: Leader, offset: int | None) -> Committed | None:
        """Report an append to a leader, and do what it says."""
        self._call(f"acknowledged({offset})")
        try:
            committed = leader.acknowledged(offset)
        except DeposedError as error:
            self._note(f"DeposedError: {error}")
            return None
        self._write(self._stores[worker], committed.change)
        for key, message in committed.sends:
            self._note(f"send {_key(key)}: {_message(message)}")
        for told in committed.told.records:
            self._note(f"tell {_value(told)}")
        for effect in committed.effects:
            self._note(f"do {_value(effect)}")
            self.run_id = effect.run_id
        return committed

    def step(self, worker: str, leader: Leader, now: int, *inputs: Take | Input) -> Committed | None:
        """Decide, append, acknowledge."""
        raw = self.decide(leader, now, *inputs)
        return None if raw is None else self.acknowledge(worker, leader, self.append(raw))

    def text(self) -> str:
        """Return the transcript; the names of runs, which are digests, are A, B and so on in their order of appearance."""
        text = "\n".join(self.lines).strip() + "\n"
        for letter, name in zip(ascii_uppercase, dict.fromkeys(_DIGEST.findall(text)), strict=False):
            text = text.replace(name, letter)
        return text

    def _call(self, text: str) -> None:
        self.lines.append(f"> {text}")

    def _note(self, text: str) -> None:
        self.lines.append(f"    {text}".rstrip())

    def _write(self, store: SimStore, change: Change) -> None:
        store.write(change)
        for key, value in change.puts:
            self._note(f"write {_key(key)} = {_value(_TABLES[key[:1]][1].decode(value))}")
        for key in change.deletes:
            self._note(f"erase {_key(key)}")


def _key(key: bytes) -> str:
    name, table = _TABLES[key[:1]]
    if table is TIMERS:
        at, rest = timed_parts(key)
        return f"{name} {at} {' '.join(rest)}".rstrip()
    if table is WAITING:
        function, place = key[1:].split(b"\0", 1)
        at, partition, offset = (
            int.from_bytes(place[start:stop], "big") for start, stop in ((0, 8), (8, 12), (12, 20))
        )
        return f"{name} {function.decode()} {at} {partition}/{offset} {place[20:].decode()}"
    if table is OUTBOX:
        queue, number = entry_parts(key)
        return f"{name} {queue} {number}"
    return f"{name} {' '.join(parts(key))}".rstrip()


def _mark(mark: Mark) -> str:
    return f"{mark.epoch}.{mark.n}@{mark.offset}"


def _message(message: Outgoing) -> str:
    value = message.value or b""
    if message.topic != "commands":
        return f"{message.topic}/{message.partition} {value.decode()}"
    return f"{message.topic}/{message.partition} {_input(Take(-1, decode_commands(value)))}"


def _input(given: Take | Input) -> str:
    if not isinstance(given, Take):
        return _value(given)
    if given.commands is None:
        return f"{given.offset}: unreadable"
    items = ", ".join(f"{number} {type(command).__name__.lower()}" for number, command in given.commands.items)
    return f"{given.offset}: {given.commands.source} floor {given.commands.floor} [{items}]"


def _value(value: object) -> str:
    """Return a value as people read it: of a struct its name, and those of its fields that are not as usual."""
    if isinstance(value, Mark):
        return _mark(value)
    if isinstance(value, Outgoing):
        return _message(value)
    if isinstance(value, Event):
        return f"{value.name} at {value.partition}/{value.offset}"
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    return _plain(value)


def _struct(value: msgspec.Struct) -> str:
    shown = []
    for field in msgspec.structs.fields(value):
        content = getattr(value, field.name)
        if content not in (field.default, None, "", (), []) and field.name not in {"crc", "origin"}:
            shown.append(f"{field.name}={_value(content)}")
    return f"{type(value).__name__}({', '.join(shown)})"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
