"""The keys of the run index: how a listing with any filter becomes a few seeks.

========================================================  ================================================
key                                                       value
========================================================  ================================================
``w``                                                     `Where`: how far the index has come
``h`` run                                                 `Head`: under which keys the run is found
``r`` run, place                                          a record of history about the run, without a long result
``v`` run, place                                          that result
``s`` status, created, run                                nothing
``f`` function, status, created, run                      nothing
``e`` digest of event id, created, run                    nothing
``p`` digest of replay, function, status, created, run    nothing; twice for each run, with an empty function and with its own
``x`` partition, offset, run                              nothing; the offset is that of the run's newest record
``l`` length, run                                         nothing; for how long after its creation the run waits, if it waits for a time
``c`` function, status                                    `Count`: how many runs ``f`` has there
========================================================  ================================================

Numbers are big-endian, so that keys are ordered as they are; texts have their length before them, so that none is the
beginning of another. A run whose creation no record tells is in no listing, and has neither ``s``, ``f``, ``e`` nor ``p``.

What a run amounts to is not kept: it is folded from its records when it is looked at, and so a field that the fold learns needs
no index to be built anew. What does is another status for the same records: `LAYOUT`.
"""

import hashlib
import struct
from typing import Final

from stream_engine.core.records.journal import Record
from stream_engine.core.views.run_listing import Selection
from stream_engine.core.views.runs import STATUSES, Place

LAYOUT: Final = 5
"""Raised when keys or values have another meaning, or when `FoldedRun.status` has."""

WHERE: Final = b"w"
COUNTS: Final = b"c"
WAITS: Final = b"l"

_LENGTH: Final = struct.Struct(">I")
_LONG: Final = struct.Struct(">Q")
_PLACE: Final = struct.Struct(">BIQQI")
_BEHIND_ALL: Final = b"\xff" * _LONG.size
_DIGEST_BYTES: Final = 16


class Head(Record, frozen=True):
    """What of a run is in keys; ``last`` is the offset of the newest record about it, in its ``partition``.

    ``waits`` is how long after its creation the wait of a run ends that waits for a time, in milliseconds.
    """

    function: str
    status: str
    created_at: int | None
    event_id: str | None
    partition: int
    last: int
    replay_id: str | None = None
    waits: int | None = None


class Count(Record, frozen=True):
    """How many runs of a function have a status."""

    function: str
    status: str
    number: int


def head_key(run_id: str) -> bytes:
    """Return where a run's `Head` is."""
    return b"h" + run_id.encode()


def records_of(run_id: str) -> bytes:
    """Return what the keys of a run's records begin with."""
    return b"r" + _text(run_id)


def results_of(run_id: str) -> bytes:
    """Return what the keys of a run's long results begin with."""
    return b"v" + _text(run_id)


def place_bytes(place: Place) -> bytes:
    """Return a place as the end of a key."""
    return _PLACE.pack(*place)


def place_in(key: bytes) -> Place:
    """Return the place that a key ends with."""
    stage, partition, epoch, n, index = _PLACE.unpack(key[-_PLACE.size :])
    return stage, partition, epoch, n, index


def found_by(run_id: str, head: Head) -> set[bytes]:
    """Return the keys without a value by which a run is found."""
    run = run_id.encode()
    keys = {expiring(head.partition, head.last) + run}
    if head.waits is not None:
        keys.add(WAITS + _LONG.pack(max(head.waits, 0)) + run)
    if head.created_at is not None:
        age = _LONG.pack(max(head.created_at, 0)) + run
        keys |= {_status(head.status) + age, _function(head.function, head.status) + age}
        if head.event_id is not None:
            keys.add(_event(head.event_id) + age)
        if head.replay_id is not None:
            keys |= {_replay(head.replay_id, function, head.status) + age for function in ("", head.function)}
    return keys


def ranges(selection: Selection) -> list[tuple[bytes, bytes, bytes]]:
    """Return the ranges of keys that have all runs of a selection, as (what the keys begin with, start, stop).

    What follows on that beginning has the order of the runs. Runs of an event are to be looked at each; the others are wanted.
    """
    if selection.event_id is not None:
        prefixes = [_event(selection.event_id)]
    else:
        # In the order of the statuses, whatever was given twice.
        statuses = [status for status in STATUSES if selection.statuses is None or status in selection.statuses]
        function, replay = selection.function, selection.replay_id
        if replay is not None:
            prefixes = [_replay(replay, function or "", status) for status in statuses]
        else:
            prefixes = [_status(s) if function is None else _function(function, s) for s in statuses]
    since, until = selection.since, selection.until
    first = _LONG.pack(0 if since is None else max(since, 0))
    behind = _BEHIND_ALL if until is None else _LONG.pack(max(until, 0))
    return [(prefix, prefix + first, prefix + behind) for prefix in prefixes]


def run_in(age: bytes) -> str:
    """Return the run's id from what follows on the beginning of a key (see `ranges`)."""
    return age[_LONG.size :].decode()


def run_waiting(key: bytes) -> str:
    """Return the run of a key that says for how long it waits."""
    return key[len(WAITS) + _LONG.size :].decode()


def expiring(partition: int, offset: int) -> bytes:
    """Return what the keys of the runs begin with whose newest record has this offset."""
    return b"x" + _LENGTH.pack(partition) + _LONG.pack(offset)


def run_expiring(key: bytes) -> tuple[str, int]:
    """Return the run of such a key, and the offset."""
    offset = 1 + _LENGTH.size
    run = offset + _LONG.size
    return key[run:].decode(), _LONG.unpack(key[offset:run])[0]


def count_key(function: str, status: str) -> bytes:
    """Return where a `Count` is."""
    return COUNTS + _text(function) + _text(status)


def behind(prefix: bytes) -> bytes:
    """Return a key behind all that begin with this one, which must not end in 0xFF."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _status(status: str) -> bytes:
    return b"s" + _text(status)


def _function(function: str, status: str) -> bytes:
    return b"f" + _text(function) + _text(status)


def _event(event_id: str) -> bytes:
    # Producers may give ids of any length.
    return b"e" + _digest(event_id)


def _replay(replay_id: str, function: str, status: str) -> bytes:
    return b"p" + _digest(replay_id) + _text(function) + _text(status)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def _text(text: str) -> bytes:
    raw = text.encode()
    return _LENGTH.pack(len(raw)) + raw
