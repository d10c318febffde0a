"""Several worker processes side by side, as one: started together, watched, replaced when killed, stopped together."""

import asyncio
import contextlib
import logging
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import Callable

from stream_engine.shell.clock import monotonic
from stream_engine.shell.health import Health
from stream_engine.shell.parent import SAY_SECONDS, decode

_log = logging.getLogger(__name__)
_AGAIN_SECONDS = 1.0
_SILENT_SECONDS = 10 * SAY_SECONDS


class Processes:
    """``count`` processes of a command, which is made from the descriptor of the line that it is to report on; `run` does all of it."""

    def __init__(self, count: int, command: Callable[[int], list[str]]) -> None:
        self._children = [_Child(number, command) for number in range(1, count + 1)]
        self._stopping = asyncio.Event()
        self._signals = 0

    async def run(self, ready: Callable[[], None]) -> int:
        """Keep the processes running until `stop`, or until one of them gives up; call ``ready`` once all serve.

        A process that is killed is replaced. Returns the exit status for all of them: that of the one that gave up, if any.
        """
        first, *others = self._children
        tasks = [asyncio.create_task(self._keep(first))]
        announcing = asyncio.create_task(self._announce(ready))
        # An app that cannot be loaded says so once.
        await asyncio.wait([tasks[0], asyncio.create_task(first.heard.wait())], return_when=asyncio.FIRST_COMPLETED)
        tasks += [asyncio.create_task(self._keep(child)) for child in others]
        codes = await asyncio.gather(*tasks)
        announcing.cancel()
        return max(codes)

    def stop(self) -> None:
        """Pass on a signal that asks to stop (SIGTERM, SIGINT): the first one drains, the next one waits for nothing."""
        self._signals += 1
        if self._signals > 1 or not self._stopping.is_set():
            self._stop()

    def health(self) -> Health:
        """Return how the processes are together; may be called from any thread."""
        found = [child.health() for child in self._children]
        why = "; ".join(f"process {n}: {health.why}" for n, health in enumerate(found, 1) if health.why)
        return Health(all(health.live for health in found), all(health.ready for health in found), why)

    def _stop(self) -> None:
        self._stopping.set()
        for child in self._children:
            child.terminate()

    async def _announce(self, ready: Callable[[], None]) -> None:
        for child in self._children:
            await child.ready.wait()
        ready()

    async def _keep(self, child: "_Child") -> int:
        """Keep one process running; return its exit status, where a signal's number counts on from 128."""
        while not self._stopping.is_set():
            code = await child.run(self._stopping.is_set)
            if self._stopping.is_set():
                # A process that had no time yet to say how it wants to be stopped has done nothing either.
                return 0 if code == -signal.SIGTERM else _status(code)
            if code > 0:
                # It has said why, and would say so again.
                self._stop()
                return code
            _log.warning("process %d has ended (%s); another is started", child.number, _end(code))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _AGAIN_SECONDS)
        return 0


class _Child:
    """One of the processes, and its successors."""

    def __init__(self, number: int, command: Callable[[int], list[str]]) -> None:
        self.number = number
        self.ready = asyncio.Event()
        self.heard = asyncio.Event()
        self._command = command
        self._process: Process | None = None
        self._health: Health | None = None
        self._heard_at = 0.0

    def health(self) -> Health:
        """Return how the process is, as far as it says."""
        health = self._health
        if health is None:
            return Health(live=True, ready=False, why="it is about to start")
        if monotonic() > self._heard_at + _SILENT_SECONDS:
            return Health(live=False, ready=False, why=f"it has said nothing for {_SILENT_SECONDS:g} s")
        return health

    def terminate(self) -> None:
        """Ask the process to stop, if there is one."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def run(self, stopping: Callable[[], bool]) -> int:
        """Start a process, and listen to it until it has ended; return its exit status, negative for a signal."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = self._command(theirs.fileno())
            # A session of its own, so that Ctrl-C in a terminal reaches the parent alone, which passes it on.
            self._process = await asyncio.create_subprocess_exec(
                *command, pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )
        if stopping():
            self.terminate()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            with contextlib.suppress(ConnectionError):
                async for line in reader:
                    self._take(decode(line))
            return await self._process.wait()
        finally:
            writer.close()
            self._health = None

    def _take(self, health: Health) -> None:
        self._health, self._heard_at = health, monotonic()
        self.heard.set()
        if health.ready:
            self.ready.set()


def _status(code: int) -> int:
    return code if code >= 0 else 128 - code


def _end(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else "it was asked to stop"
