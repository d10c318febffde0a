"""The local broker's folder: what runs in it, and a lock so that only one process at a time changes that."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker.choice import Kind
from stream_engine.shell.localbroker.process import ProcessId


class Record(msgspec.Struct, frozen=True):
    """What was started here last. It stays after a stop, so that the next start uses the same kind and port.

    Attributes:
        kind: what runs the broker.
        port: on 127.0.0.1.
        process: the broker's process, where `kind` is java.
        container: the container's id, where `kind` is docker.
    """

    kind: Kind
    port: int
    process: ProcessId | None = None
    container: str | None = None


class Home:
    """Paths, record and lock of one local broker."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "broker.log"
        self.data = path / "data"
        self.properties = path / "server.properties"
        self._record = path / "broker.json"

    def record(self) -> Record | None:
        """What was started here last, or None.

        Raises:
            UserError: the record is damaged.
        """
        try:
            content = self._record.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(content, type=Record)
        except msgspec.DecodeError as error:
            problem = f"the local broker's record {self._record} is damaged: {error}"
            remedy = "if no broker runs, remove that file; the broker's data is beside it and stays"
            raise UserError(f"{problem}; {remedy}") from error

    def save(self, record: Record) -> None:
        """Replace the record in one go."""
        fresh = self._record.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(record))
        fresh.replace(self._record)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for this folder's lock and hold it. The kernel gives it back should the process die.

        Raises:
            UserError: the folder cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            remedy = "choose another with STREAM_ENGINE_STATE_DIR"
            raise UserError(f"the local broker's folder {self.path} cannot be used ({error}); {remedy}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
