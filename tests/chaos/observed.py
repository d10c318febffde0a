"""What can be seen from outside of what an app did: its topics, and the lines that its functions wrote."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from tests.chaos.load import Sent
from tests.raw import Follower, Record, Told, told, without_repeats

TRIGGERS = {f"load/{name}": name for name in ("single", "five", "echo", "flaky", "blocking", "slow")}
"""Which function an event of a name is for."""

_FIELDS = {"name", "data", "id", "ts"}

Place = tuple[int, int]
"""A partition and an offset of the events topic."""


class Note(NamedTuple):
    """A line that a step's body wrote when it began; ``at`` is in milliseconds since the epoch."""

    run: str
    step: str
    attempt: int
    key: str
    pid: int
    number: int
    at: int


class Observed(NamedTuple):
    """Everything that the checks look at.

    ``events`` are by place, None for a message that is no event; ``journal`` has the records of each partition, each with its
    offset; ``repeats`` counts what history was told again; ``zombies`` are processes that were paused for long.
    """

    events: dict[Place, dict[str, Any] | None]
    history: list[Told]
    journal: dict[int, list[tuple[int, Any]]]
    dead: list[Record]
    notes: list[Note]
    sent: list[Sent]
    repeats: int = 0
    zombies: frozenset[int] = frozenset()


class Observer:
    """Follows the topics of an app."""

    def __init__(self, servers: str, app: str, notes: Path) -> None:
        self._notes = notes
        self._events = Follower(servers, f"{app}.events")
        self._journal = Follower(servers, f"{app}.journal")
        self._history = Follower(servers, f"{app}.history")
        self._dead = Follower(servers, f"{app}.dead-letters")
        self._followers = (self._events, self._journal, self._dead, self._history)
        self._told: list[Told] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for follower in self._followers:
            follower.__exit__(*error)

    def follow(self) -> None:
        """Read what has come: journals are trimmed, and what is gone then cannot be looked at any more."""
        for follower in self._followers:
            follower.more(0)

    def look(self, sent: list[Sent], zombies: frozenset[int] = frozenset()) -> Observed:
        """Return everything that there is now."""
        # History last, so that it has what the journal has, if the workers have come to rest.
        for follower in self._followers:
            follower.to_end()
        self._told.extend(told(record.value) for record in self._history.records[len(self._told) :])
        history = without_repeats(self._told)
        journal = defaultdict(list)
        for record in self._journal.records:
            journal[record.partition].append((record.offset, msgspec.msgpack.decode(record.value or b"")))
        return Observed(
            {(record.partition, record.offset): _event(record.value) for record in self._events.records},
            history,
            journal,
            self._dead.records,
            read_notes(self._notes),
            sent,
            len(self._told) - len(history),
            zombies,
        )


def read_notes(folder: Path) -> list[Note]:
    """Return the lines of all processes, which share a clock, in the order in which they were written."""
    notes = [
        Note(**json.loads(line))
        for path in folder.glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return sorted(notes, key=lambda note: (note.at, note.pid, note.number))


def _event(value: bytes | None) -> dict[str, Any] | None:
    try:
        event = json.loads(value or b"")
    except ValueError:
        return None
    good = isinstance(event, dict) and "name" in event and event.keys() <= _FIELDS
    return event if good and isinstance(event.get("data", {}), dict) else None
