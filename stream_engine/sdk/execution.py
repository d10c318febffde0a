"""The executor: performs what leaders decided, on one event loop.

The seam. Everything is called on the loop's thread:

- ``async with Executor(engine) as executor`` enters the app's lifespan, and at the end leaves it.
- ``perform(term, effects)`` once the record that decided them counts; a term's effects in their order.
- ``lend(term, lease)`` when the term is about to be ended on purpose: what is running goes on, and is posted to the term as lent.
- ``end_term(term)`` when the term is over, after its last ``perform``; nothing of its runs is posted afterwards.
- ``use_secret(secret)`` before that, for functions that have callbacks.
- The executor calls ``term.post``, ``term.may_begin`` and ``term.give_back`` (see `stream_engine.sdk.run.Term`).
"""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self
from weakref import WeakSet

from stream_engine.core.partition.turn import Attempt, Deliver, Effect, Execute, Stop
from stream_engine.core.routing.receive import MAX_BYTES
from stream_engine.core.stages.commands import Stopped
from stream_engine.sdk.body import run_body
from stream_engine.sdk.client import Clock, wall_clock
from stream_engine.sdk.context import Context, SyncContext
from stream_engine.sdk.engine import Engine
from stream_engine.sdk.lent import Lent
from stream_engine.sdk.lifespan import LifespanTask
from stream_engine.sdk.run import Execution, Host, Term, interrupted
from stream_engine.sdk.slots import Capacity, Slots
from stream_engine.sdk.tasks import TaskFactory
from stream_engine.sdk.topics import Topics
from stream_engine.sdk.watchdog import Watchdog

THREADS = "stream-engine-code-"
"""What the names of the threads begin with on which users' ``def`` functions and steps run."""

_CLOSE_SECONDS = 5.0


class Stopping(NamedTuple):
    """An execution that is being stopped: the bodies that were running then, as in `Execution.bodies`, and the task that waits for all to have ended."""

    bodies: dict[str, tuple[int, int]]
    task: asyncio.Task[None]


class Executor:
    """Executes the runs of an app; see the module for the order of calls.

    Attributes:
        execution_type: what an execution of a run is made as.
    """

    execution_type: type[Execution] = Execution

    def __init__(
        self,
        engine: Engine,
        *,
        capacity: Capacity = Capacity(),  # noqa: B008 - it is frozen
        unload_after: float = 10.0,
        stall_after: float = 1.0,
        clock: Clock = wall_clock,
        topics: Topics | None = None,
    ) -> None:
        """Prepare; create it on the event loop that it is to use.

        A run that waits for nothing but timers for ``unload_after`` seconds is unloaded, and at once where its code is a single
        task and the timer lasts longer than that. User code that blocks the loop for ``stall_after`` seconds is reported.
        Without ``topics``, steps produce to any topic.
        """
        self._engine = engine
        self._stall_after = stall_after
        step_slots = Slots(capacity.steps)
        self._host = Host(
            engine.name,
            engine.events_topic,
            engine.event_types,
            engine.middleware,
            asyncio.get_running_loop(),
            clock,
            ThreadPoolExecutor(capacity.threads, f"{THREADS}run"),
            ThreadPoolExecutor(capacity.threads, f"{THREADS}step"),
            Slots(capacity.threads),
            Slots(capacity.threads, step_slots),
            step_slots,
            MAX_BYTES,
            unload_after,
            topics or Topics(None),
            lambda function: function in engine.functions,
        )
        self._terms: dict[Term, dict[str, Execution]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._stopping: dict[Execution, Stopping] = {}
        self._lent: dict[asyncio.Task[None], Execution] = {}
        self._ending: WeakSet[Term] = WeakSet()
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

    def use_secret(self, secret: bytes) -> None:
        """Make the tokens of callbacks with a secret."""
        self._host.secret = secret

    def perform(self, term: Term, effects: Iterable[Effect]) -> None:
        """Perform what was decided in a term; of one that is being ended, nothing: the next leader finds it in the state."""
        if term in self._ending:
            return
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
            elif isinstance(effect, Stop):
                self._stop(term, execution)
            else:
                del executions[effect.run_id]
                self._leave(execution)

    def perform_all(self, decided: Sequence[tuple[Term, Sequence[Effect]]]) -> None:
        """Perform what was decided in several terms."""
        for term, effects in decided:
            self.perform(term, effects)

    def lend(self, term: Term, lease: int) -> None:
        """Go on with what is running in a term, for ``lease`` milliseconds; post what that is, and leave everything else."""
        self._ending.add(term)
        for execution in self._terms.pop(term, {}).values():
            stopping = self._stopping.get(execution)
            lent = _lend(execution) if stopping is None else _lend_rest(execution, stopping.bodies)
            if lent is None:
                self._leave(execution)
                continue
            task = execution.task if stopping is None else stopping.task
            if task is not None:
                self._lent[task] = execution
                task.add_done_callback(self._lent.pop)
            for command in lent.commands(lease):
                term.post(command)

    def end_term(self, term: Term) -> None:
        """Leave all executions of a term; nothing more of them is posted."""
        for execution in self._terms.pop(term, {}).values():
            self._leave(execution)

    def begin_draining(self) -> None:
        """Begin no more steps, in any term."""
        self._host.draining = True

    async def drain(self, seconds: float, hurry: asyncio.Event) -> bool:
        """Wait until all that was lent has ended, at most ``seconds``, or until there is a ``hurry``.

        The rest is given up; returns whether there was none.
        """
        if self._lent:
            waits = [asyncio.create_task(asyncio.wait(self._lent)), asyncio.create_task(hurry.wait())]
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        rest = list(self._lent.values())
        for execution in rest:
            _give_up(execution)
        return not rest

    async def aclose(self) -> None:
        """Leave all executions, wait a moment for their ``finally``, and leave the lifespan."""
        for term in list(self._terms):
            self.end_term(term)
        for execution in list(self._lent.values()):
            self._leave(execution)
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
        execution = self.execution_type(self._host, term, effect, function)
        execution.ctx = Context(execution) if function.code.is_async else SyncContext(execution)
        # Made directly: this task is none of those that the code makes, which the loop's task factory counts.
        execution.task = asyncio.Task(run_body(execution), loop=self._host.loop, name=effect.run_id)
        return execution

    def _stop(self, term: Term, execution: Execution) -> None:
        bodies = dict(execution.bodies)
        if bodies:
            # At once, because calls in threads may take long to end, and the worker may be gone by then.
            term.post(interrupted(execution))

        async def report() -> None:
            try:
                await stopped(execution)
            finally:
                del self._stopping[execution]
            if execution.lent is None:
                term.post(Stopped(execution.run_id))
            else:
                execution.lent.give_up()

        task = asyncio.Task(report(), loop=self._host.loop, name=f"{execution.run_id} is stopped")
        self._stopping[execution] = Stopping(bodies, task)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _leave(self, execution: Execution) -> None:
        execution.close()
        task = execution.task
        if task is not None and not execution.finished:
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


async def stopped(execution: Execution) -> None:
    """Close an execution, and wait until nothing of its code is running: tasks are cancelled, a call in a thread comes to its end."""
    tasks = execution.open_tasks()
    execution.close()
    if tasks:
        await asyncio.wait(tasks)
    while execution.threads:
        await asyncio.wait([asyncio.wrap_future(thread) for thread in execution.threads])


def _lend_rest(execution: Execution, bodies: dict[str, tuple[int, int]]) -> Lent:
    """Have the next leader wait for what is still running of an execution that is being stopped, to begin nothing before that has ended."""
    about = execution.run_id, execution.run.attempt, bodies
    lent = execution.lent = Lent(*about, execution.term.give_back, lambda: None)
    return lent


def _lend(execution: Execution) -> Lent | None:
    """Let an execution go on with nothing but what is running now; return None if nothing is."""
    if execution.closed or execution.finished or (execution.waits and not execution.bodies):
        return None

    def over() -> None:
        # Not at once: whoever brings the last of what is lent is in the middle of the code that is to be left.
        execution.host.loop.call_soon(execution.close)

    lent = Lent(execution.run_id, execution.run.attempt, execution.bodies, execution.term.give_back, over)
    execution.lent = lent
    return lent


def _give_up(execution: Execution) -> None:
    if execution.lent is not None:
        execution.lent.give_up()
    execution.close()
