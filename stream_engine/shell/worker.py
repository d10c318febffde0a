"""A worker: the threads that route and lead, and the event loop on which users' functions run."""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
from collections.abc import Callable
from functools import partial

from stream_engine.sdk.engine import Engine
from stream_engine.sdk.execution import Executor
from stream_engine.sdk.topics import Topics
from stream_engine.shell import clients, topics
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.control import Control, publish, write, write_format
from stream_engine.shell.deployment import Deployment, deploy, write_down
from stream_engine.shell.errors import UserError
from stream_engine.shell.folder import Folder
from stream_engine.shell.health import Health
from stream_engine.shell.history import schemas
from stream_engine.shell.secret import make_secret, secret_of
from stream_engine.shell.settings import Settings
from stream_engine.shell.stranded import Stranded
from stream_engine.shell.threads import Limits, Serving, Threads
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import Patience, answering, why

_log = logging.getLogger(__name__)
_SWITCH_SECONDS = 0.0005
# Runs come and go by the thousand, and hardly ever in cycles: collecting after every 700 objects costs a fifth of the time,
# and after 50,000 still a tenth.
_COLLECT_AFTER = (200_000, 20, 50)
_READY_POLL_SECONDS = 0.01


class Worker:
    """One process that serves an app; `serve` does all of it."""

    def __init__(self, engine: Engine, settings: Settings, limits: Limits, *, activate: bool = False) -> None:
        """Prepare; with ``activate``, events are routed by this worker's functions even if an earlier deploy had the same."""
        self.engine = engine
        self.settings = settings
        self._limits = limits
        self._activate = activate
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._asked = False
        self._failure: BaseException | None = None
        self._threads: Threads | None = None
        self._loop = asyncio.get_running_loop()
        self._quiet = Patience(settings).properties
        self._stranded = Stranded()

    @property
    def stopping(self) -> bool:
        """Whether it drains."""
        return self._asked or self._stopping.is_set()

    def health(self) -> Health:
        """Return how the worker is; may be called from any thread."""
        if self.stopping:
            return Health(live=True, ready=False, why="it is being stopped")
        if self._threads is None:
            return Health(live=True, ready=False, why="it is starting")
        return self._threads.health()

    def stop(self) -> None:
        """Begin to drain; `serve` returns when that is done. Asked again, do not wait for it. May be called from any thread."""
        again, self._asked = self.stopping, True
        self._loop.call_soon_threadsafe(self._hurry.set if again else self._stopping.set)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until `stop`; call ``ready`` once every assigned partition is routed and led.

        Raises:
            UserError: the app cannot be served; the message says what to do.
        """
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.set_threshold(*_COLLECT_AFTER)
        settings = self.settings
        with answering(settings):
            deployment, control = await asyncio.to_thread(self._deploy)
        folder = Folder(settings.state_dir, self.engine.name)
        try:
            capacity = self._limits.capacity
            known = Topics(
                partial(topics.exists, settings), lambda topic: topics.partition_count(clients.admin(settings), topic)
            )
            async with Executor(self.engine, capacity=capacity, topics=known) as executor:
                with answering(settings):
                    await asyncio.to_thread(self._publish, deployment, control)
                executor.use_secret(secret_of(control.values) or b"")
                threads = self._threads = Threads(self._serving(), deployment, folder, executor, control)
                await self._serve(threads, executor, ready)
        finally:
            folder.release()
        if self._failure is not None:
            raise UserError(f"the worker cannot go on: {why(self._failure)}") from self._failure

    async def _serve(self, threads: Threads, executor: Executor, ready: Callable[[], None]) -> None:
        threads.start()
        try:
            announced = False
            while not self._stopping.is_set():
                if not announced and threads.health().ready:
                    announced = True
                    ready()
                # Readiness is asked for a moment after the start; later only the end is awaited.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), None if announced else _READY_POLL_SECONDS)
            await asyncio.to_thread(threads.stop_routing)
            executor.begin_draining()
            await asyncio.to_thread(threads.hand_over)
            began = monotonic()
            if not await executor.drain(self._limits.drain, self._hurry):
                _log.warning("what had not ended after %.3g s is begun again by whoever leads now", monotonic() - began)
        finally:
            await asyncio.to_thread(threads.stop)

    def _failed(self, error: BaseException) -> None:
        """Stop, because a thread cannot go on; may be called from any thread."""
        self._failure = self._failure or error
        self._loop.call_soon_threadsafe(self._stopping.set)

    def _serving(self) -> Serving:
        name = f"{socket.gethostname()}/{os.getpid()}"
        return Serving(
            name, self.engine, self.settings, self._limits, self._quiet, self._stranded, self._loop, self._failed
        )

    def _deploy(self) -> tuple[Deployment, Control]:
        settings = self.settings
        names = Names.of(self.engine.name, self.engine.events_topic)
        reader, asker = (
            clients.reader(settings, **self._quiet, **self._stranded.watched(what))
            for what in (names.control, f"where {names.control} ends")
        )
        control = Control(reader, names.control, asker)
        return deploy(clients.admin(settings, **self._quiet), control, self.engine, settings), control

    def _publish(self, deployment: Deployment, control: Control) -> None:
        topic = deployment.names.control
        producer = clients.producer(self.settings, **self._quiet)
        write_down(producer, control, deployment)
        write_format(producer, topic, control)
        control.read_to_end()
        control.check_formats()
        missing = {key: value for key, value in schemas.to_publish().items() if control.value(key) != value}
        write(producer, topic, missing)
        make_secret(producer, topic, control)
        publish(producer, topic, control, self.engine.catalogue(), activate=self._activate, now=now_ms())
        control.read_to_end()
