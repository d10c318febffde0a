"""Which events are waited for, as routers know it: by name, by the field that is compared, and by the partitions that ask for them.

An *interest* is a name of events, or a pattern of names, and the path of a field. Waits for one value of it come together with the events that have it in a
*slot*, which belongs to the partition that it is hashed to. A partition where somebody waits asks for the events of an interest by a key of
the control topic, once for all of its slots; the lanes that route events follow that topic, and send to the partition what belongs to its slots.
"""

from collections.abc import Mapping
from typing import Final
from zlib import crc32

import msgspec

from stream_engine.core.expressions.expression import value_at
from stream_engine.core.expressions.scope import Scope
from stream_engine.core.functions.catalogue import RESERVED, WILDCARD
from stream_engine.core.identity import digest, home_partition
from stream_engine.core.records.journal import Event
from stream_engine.core.records.wanted import Offer, Sender, Wanted

INTEREST: Final = "interest/"
"""What the keys of the control topic begin with by which partitions ask for events: ``interest/<interest>/<partition>``."""

PLACE_BYTES: Final = 24

_REMEMBERED: Final = 10_000


class Request(msgspec.Struct, frozen=True):
    """What a partition asks for: events of an interest since a time, each to be kept for so many milliseconds; ``at`` is when it asked."""

    name: str
    path: str
    since: int
    keep: int
    at: int


def interest_of(name: str, path: str) -> str:
    """Return the id of an interest."""
    return digest("interest", name, path)


def slot_of(name: str, path: str, value: str) -> str:
    """Return the slot of a value."""
    return digest("slot", name, path, value)


def slot(wanted: Wanted) -> str:
    """Return the slot where a wait comes together with its events."""
    return slot_of(wanted.name, wanted.path, wanted.value)


def place(event: Event) -> bytes:
    """Return where an event stands in the order of all: by the log's time, then by partition and offset, and by topic where that is the same."""
    where = event.partition.to_bytes(4, "big") + event.offset.to_bytes(8, "big")
    return event.timestamp.to_bytes(8, "big") + where + crc32(event.topic.encode()).to_bytes(4, "big")


def before(at: int) -> bytes:
    """Return the place behind all events before a time, and before those of that time (milliseconds since the epoch)."""
    return max(0, at - 1).to_bytes(8, "big") + b"\xff" * (PLACE_BYTES - 8)


def moment(place: bytes) -> int:
    """Return the time of a place."""
    return int.from_bytes(place[:8], "big")


def request_key(interest: str, partition: int) -> str:
    """Return the key of the control topic by which a partition asks for the events of an interest."""
    return f"{INTEREST}{interest}/{partition}"


class Interests:
    """What all partitions ask for, as of a place in the control topic; it is made anew when that changes.

    Attributes:
        read: the offset behind the last request that has been read.
        requests: what each partition asks for of each interest, with the offset in the control topic.
    """

    def __init__(self, requests: Mapping[tuple[str, int], tuple[int, Request]], read: int = 0) -> None:
        self.requests = requests
        self.read = max([read, *(offset + 1 for offset, _ in requests.values())])
        self._exact: dict[str, list[_Interest]] = {}
        self._prefixes: list[tuple[str, _Interest]] = []
        found: dict[str, _Interest] = {}
        for (interest, partition), (_, request) in requests.items():
            if interest not in found:
                one = found[interest] = _Interest(request.name, request.path, {})
                if request.name.endswith(WILDCARD):
                    self._prefixes.append((request.name.removesuffix(WILDCARD), one))
                else:
                    self._exact.setdefault(request.name, []).append(one)
            found[interest].keeps[partition] = request.keep
        self._named: dict[str, list[_Interest]] = {}

    @classmethod
    def of(cls, values: Mapping[str, tuple[int, bytes]], read: int = 0) -> "Interests":
        """Return what the control topic says: values and offsets by the rest of their keys. What is no request is passed over."""
        requests = {}
        for key, (offset, raw) in values.items():
            interest, _, partition = key.partition("/")
            try:
                requests[interest, int(partition)] = (offset, _decode(raw))
            except (ValueError, msgspec.DecodeError):
                continue
        return cls(requests, read)

    def offers(self, event: Event, partitions: int, sender: Sender | None) -> list[tuple[int, Offer]]:
        """Return what is sent of an event, and of the run that sent it, to those of so many partitions that ask for it."""
        named = self._of(event.name)
        if not named:
            return []
        scope = Scope(event)
        offers = []
        for interest in named:
            value = value_at(interest.path, scope) if interest.path else ""
            if value is None:
                continue
            found = slot_of(interest.name, interest.path, value)
            owner = home_partition(found, partitions)
            if owner in interest.keeps:
                offers.append((owner, Offer(event, found, interest.keeps[owner], sender)))
        return offers

    def _of(self, name: str) -> "list[_Interest]":
        found = self._named.get(name)
        if found is None:
            found = list(self._exact.get(name, ()))
            if not name.startswith(RESERVED):
                found += [one for prefix, one in self._prefixes if name.startswith(prefix) and name != prefix]
            # Names come from outside, and a producer may well put an id into each.
            if len(self._named) == _REMEMBERED:
                self._named.clear()
            self._named[name] = found
        return found


class _Interest(msgspec.Struct):
    name: str
    path: str
    keeps: dict[int, int]


NO_INTERESTS = Interests({})
"""Nobody waits for anything."""

_decode = msgspec.json.Decoder(Request).decode
