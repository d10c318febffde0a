"""Commands on their way to partitions, in records that are not too large."""

from collections.abc import Callable

from stream_engine.core.records.journal import WRITES, encode
from stream_engine.core.records.requests import Command, Commands

RECORD_BYTES = 512 * 1024


class Parcels:
    """Commands by their partitions, cut into records."""

    def __init__(self, record: Callable[[list[tuple[int, Command]]], bytes]) -> None:
        """``record`` makes one of commands with their sequence numbers."""
        self._record = record
        self._open: dict[int, list[tuple[int, Command]]] = {}
        self._sizes: dict[int, int] = {}
        self._records: list[tuple[int, bytes]] = []

    def add(self, partition: int, number: int, command: Command, size: int) -> None:
        """Add a command of about so many bytes, with its sequence number."""
        self._open.setdefault(partition, []).append((number, command))
        self._sizes[partition] = self._sizes.get(partition, 0) + size
        if self._sizes[partition] > RECORD_BYTES:
            self._records.append((partition, self._record(self._open.pop(partition))))
            self._sizes[partition] = 0

    def take(self) -> list[tuple[int, bytes]]:
        """Return the records, with their partitions, and be empty again."""
        records = self._records + [(partition, self._record(items)) for partition, items in self._open.items()]
        self._open, self._sizes, self._records = {}, {}, []
        return records


def unnumbered(items: list[tuple[int, Command]]) -> bytes:
    """Return a record of commands that do no harm if they arrive twice."""
    return encode(Commands("", None, items, WRITES))
