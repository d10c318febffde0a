"""SIGTERM and SIGINT, heard by a thread of their own.

Signals that the event loop handles are not heard while code of the app blocks it, and a drain that runs on it does not end then, nor where the
app's lifespan never does. So whoever asks a worker to stop has a bound, whatever the app's code does.
"""

import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, Self

from stream_engine.shell.clock import monotonic

_NUMBERS: Final = (signal.SIGTERM, signal.SIGINT)
_HURRY_SECONDS: Final = 5.0


class Signals:
    """While it is entered, from the main thread, each such signal calls ``stop``, from another thread.

    If the process is still there ``patience`` seconds after the first one, or 5 s after a second one, ``give_up`` is called.
    """

    def __init__(self, stop: Callable[[], None], patience: float, give_up: Callable[[], None]) -> None:
        self._stop = stop
        self._patience = patience
        self._give_up = give_up
        self._ours, self._theirs = socket.socketpair()
        self._theirs.settimeout(0)
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, _heard_elsewhere) for number in _NUMBERS}
        self._descriptor = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.set_wakeup_fd(self._descriptor)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._theirs.close()
        self._thread.join()
        self._ours.close()

    def _listen(self) -> None:
        until: float | None = None
        while True:
            self._ours.settimeout(None if until is None else max(0.001, until - monotonic()))
            try:
                heard = self._ours.recv(1)
            except TimeoutError:
                self._give_up()
                return
            if not heard:
                return
            if heard[0] in _NUMBERS:
                self._stop()
                until = monotonic() + self._patience if until is None else min(until, monotonic() + _HURRY_SECONDS)


def _heard_elsewhere(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the thread has it from the descriptor."""
