"""The executor: performs what leaders decided, on one event loop.

The seam. Everything is called on the loop's thread:

- ``async with Executor(engine) as executor`` enters the app's lifespan, and at the end leaves it.
- ``perform(term, effects)`` once the record that decided them counts; a term's effects in their order.
- ``end_term(term)`` when the term is over, after its last ``perform``; nothing of its runs is posted afterwards.
- The executor calls ``term.post`` and ``term.may_begin`` (see `stream_engine.sdk.run.Term`).
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from stream_engine.core.receive import MAX_BYTES
from stream_engine.core.turn import Attempt, Deliver, Effect, Execute
from stream_engine.sdk.body import run_body
from stream_engine.sdk.client import Clock, wall_clock
from stream_engine.sdk.context import Context, SyncContext
from stream_engine.sdk.engine import Engine
from stream_engine.sdk.lifespan import LifespanTask
from stream_engine.sdk.run import Execution, Host, Term
from stream_engine.sdk.tasks import TaskFactory
from stream_engine.sdk.topics import TopicExists, Topics
from stream_engine.sdk.watchdog import Watchdog

THREADS = "stream-engine-code-"
"""What the names of the threads begin with on which users' ``def`` functions and steps run."""

_DRAIN_POLL_SECONDS = 0.01
_CLOSE_SECONDS = 5.0


class Executor:
    """Executes the runs of an app; see the module for the order of calls."""

    def __init__(
        self,
        engine: Engine,
        *,
        threads: int = 64,
        unload_after: float = 10.0,
        stall_after: float = 1.0,
        clock: Clock = wall_clock,
        topic_exists: TopicExists | None = None,
    ) -> None:
        """Prepare; create it on the event loop that it is to use.

        ``threads`` is how many ``def`` functions, and as many ``def`` steps, are in progress at a time. A run that waits for
        nothing but timers for ``unload_after`` seconds is unloaded; user code that blocks the loop for ``stall_after`` seconds
        is reported. Without ``topic_exists``, steps produce to any topic.
        """
        self._engine = engine
        self._stall_after = stall_after
        self._host = Host(
            engine.name,
            engine.events_topic,
            engine.event_types,
            engine.middleware,
            asyncio.get_running_loop(),
            clock,
            ThreadPoolExecutor(threads, f"{THREADS}run"),
            ThreadPoolExecutor(threads, f"{THREADS}step"),
            MAX_BYTES,
            unload_after,
            Topics(topic_exists),
        )
        self._terms: dict[Term, dict[str, Execution]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._lifespan = None if engine.lifespan is None else LifespanTask(engine.lifespan(engine))
        self._factory: TaskFactory | None = None
        self._watchdog: Watchdog | None = None

    @property
    def running(self) -> int:
        """How many runs are being executed."""
        return sum(len(executions) for executions in self._terms.values())

    async def start(self) -> None:
        """Enter the app's lifespan; what that raises is raised here."""
        if self._lifespan is not None:
            self._host.app = await self._lifespan.enter()
        self._factory = TaskFactory(self._host.loop)
        self._watchdog = Watchdog(self._host.loop, self._stall_after)

    def perform(self, term: Term, effects: Iterable[Effect]) -> None:
        """Perform what was decided in a term."""
        executions = self._terms.get(term)
        if executions is None:
            executions = self._terms[term] = {}
        for effect in effects:
            if isinstance(effect, Execute):
                executions[effect.run_id] = self._execute(term, effect)
                continue
            execution = executions.get(effect.run_id)
            if execution is None:
                continue
            if isinstance(effect, Deliver):
                execution.signal(effect.step_id, effect.step)
            elif isinstance(effect, Attempt):
                execution.signal(effect.step_id, effect.attempt)
            else:
                del executions[effect.run_id]
                self._leave(execution)

    def perform_all(self, decided: Sequence[tuple[Term, Sequence[Effect]]]) -> None:
        """Perform what was decided in several terms."""
        for term, effects in decided:
            self.perform(term, effects)

    def end_term(self, term: Term) -> None:
        """Leave all executions of a term; nothing more of them is posted."""
        for execution in self._terms.pop(term, {}).values():
            self._leave(execution)

    async def drain(self, seconds: float) -> None:
        """Begin no more steps, and wait until what is in progress has been done and recorded, at most ``seconds``."""
        self._host.draining = True
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._at_rest():  # noqa: ASYNC110 - once in a worker's life; what is awaited is a state of all its runs
            await asyncio.sleep(_DRAIN_POLL_SECONDS)

    async def aclose(self) -> None:
        """Leave all executions, wait a moment for their ``finally``, and leave the lifespan."""
        for term in list(self._terms):
            self.end_term(term)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=_CLOSE_SECONDS)
        for pool in (self._host.run_threads, self._host.step_threads):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._factory is not None:
            self._factory.remove()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._lifespan is not None:
            await self._lifespan.leave()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    def _execute(self, term: Term, effect: Execute) -> Execution:
        function = self._engine.find(effect.run.function, effect.run.version)
        execution = Execution(self._host, term, effect, function)
        execution.ctx = Context(execution) if function.code.is_async else SyncContext(execution)
        # Made directly: this task is none of those that the code makes, which the loop's task factory counts.
        execution.task = asyncio.Task(run_body(execution), loop=self._host.loop, name=effect.run_id)
        return execution

    def _leave(self, execution: Execution) -> None:
        execution.close()
        task = execution.task
        if task is not None and not execution.finished:
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def _at_rest(self) -> bool:
        return all(execution.at_rest for executions in self._terms.values() for execution in executions.values())
