"""The folder that a worker process has to itself."""

import fcntl
import os
from pathlib import Path
from typing import TextIO

from stream_engine.shell.errors import UserError

_SLOTS = 1_024


class Folder:
    """The first folder under ``<state dir>/<app>/`` that no other process holds; held until `release`, or the process ends.

    Workers on one machine may share a state directory. A worker that restarts mostly finds the folder that it had before,
    and with it the state of the partitions that it led.
    """

    def __init__(self, state_dir: Path, app: str) -> None:
        """Claim a folder.

        Raises:
            UserError: the state directory cannot be written.
        """
        base = state_dir / app
        try:
            base.mkdir(parents=True, exist_ok=True)
            self._lock, self.path = _claim(base)
        except OSError as error:
            raise UserError(
                f"cannot use the state directory {state_dir}: {error.strerror}; set STREAM_ENGINE_STATE_DIR"
            ) from error

    def release(self) -> None:
        """Give the folder free for another process."""
        self._lock.close()


def _claim(base: Path) -> tuple[TextIO, Path]:
    for slot in range(_SLOTS):
        path = base / f"worker-{slot}"
        path.mkdir(exist_ok=True)
        lock = (path / "lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock, path
    raise UserError(f"{_SLOTS} workers hold folders in {base} already")
