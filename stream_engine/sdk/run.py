"""Stage *run*, in the worker: one execution of a run, and when its steps may begin, are answered, and only wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from stream_engine.core.partition.turn import Execute
from stream_engine.core.records.requests import ReturnRun, ReturnStep
from stream_engine.core.records.tables import Step
from stream_engine.core.stages.commands import Input, Interrupted, RetryRun, Suspend
from stream_engine.sdk.client import Clock
from stream_engine.sdk.errors import StepUsageError
from stream_engine.sdk.event_types import EventTypes
from stream_engine.sdk.function import Function
from stream_engine.sdk.lent import Lent
from stream_engine.sdk.mailbox import Mailbox, Signal
from stream_engine.sdk.middleware import Middleware
from stream_engine.sdk.names import check_step_id
from stream_engine.sdk.scope import CurrentStep, scope
from stream_engine.sdk.sender import OfRun
from stream_engine.sdk.slots import Slots
from stream_engine.sdk.threads import Thread
from stream_engine.sdk.topics import Topics

_LEASE_POLL_SECONDS = 0.02


class Term(Protocol):
    """A term of leading a partition, as the execution of its runs sees it."""

    def post(self, command: Input, /) -> None:
        """Report to the leader; from any thread."""

    def may_begin(self) -> bool:
        """Return whether the term's lease is in force, so that a step's body may begin."""

    def give_back(self, command: ReturnStep | ReturnRun, /) -> None:
        """Send what came of something that was lent to whoever leads the partition now."""


class Unwind(BaseException):
    """Leaves a ``def`` function that has to wait for a timer, so that no thread is kept; it is executed again when due.

    Not an ``Exception``, so that users' handlers let it pass.
    """


@dataclass
class Host:
    """What all executions of a worker share. ``unload_after`` is in seconds, ``result_limit`` in bytes of JSON.

    The slots are for ``def`` functions, for ``def`` steps, and for all steps. ``secret`` is what the tokens of callbacks are made with.
    """

    app_name: str
    events_topic: str
    event_types: EventTypes
    middleware: Middleware
    loop: asyncio.AbstractEventLoop
    clock: Clock
    run_threads: ThreadPoolExecutor
    step_threads: ThreadPoolExecutor
    run_slots: Slots
    thread_slots: Slots
    step_slots: Slots
    result_limit: int
    unload_after: float
    topics: Topics
    includes: Callable[[Function[..., Any]], bool]
    app: Any = None
    draining: bool = False
    secret: bytes = field(default=b"", repr=False)


class Execution(OfRun):
    """One execution of a run. Everything but `name` happens on the event loop's thread.

    Attributes:
        mailbox: the outcomes of the run's steps.
        ctx: what the function is handed.
        closed: whether the leader wants to hear no more of this execution.
        finished: whether the code has come to its end.
        busy: how many steps the code has asked for that do not wait for a timer.
        timed: when the steps that wait for a timer are due; when only such are left, the run can be unloaded.
        bodies: the steps whose bodies are running, each with its attempt and when that began.
        lent: what goes on after the term, if anything does.
        threads: those that its code and its steps have been called in, and may still be.
    """

    __slots__ = (
        "_askers", "_recorded", "_resumed", "_suspending", "_timer", "_unasked", "_used", "bodies", "busy", "closed",
        "ctx", "events", "finished", "function", "host", "lent", "mailbox", "task", "term", "threads", "timed",
        "unwound_at",
    )  # fmt: skip

    def __init__(self, host: Host, term: Term, effect: Execute, function: Function[..., Any]) -> None:
        super().__init__(effect.run_id, effect.run, effect.event)
        self.host = host
        self.term = term
        self.events = effect.events
        self.function = function
        self.ctx: Any = None
        self.mailbox = Mailbox(host.loop, _outcomes(effect.steps), keep=not function.code.is_async)
        self.closed = self.finished = False
        self.busy = 0
        self.timed: list[int] = []
        self.bodies: dict[str, tuple[int, int]] = {}
        self.lent: Lent | None = None
        self.threads: list[Thread] = []
        self._recorded = {name: step.wake_at for name, step in effect.steps.items()}
        self._unasked = set(effect.steps)
        self._used: dict[str, int] = {}
        self._askers: set[asyncio.Task[Any] | None] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._suspending = False
        self._resumed: list[asyncio.Future[None]] = []
        self.unwound_at = -1
        self.task: asyncio.Task[None] | None = None

    @property
    def replaying(self) -> bool:
        """Whether the code only passes again what is recorded of it."""
        return bool(self._unasked)

    @property
    def waits(self) -> bool:
        """Whether the code waits for a step, and for nothing else that is known of."""
        return bool(self.busy or self.timed or self._suspending or self.unwound_at >= 0)

    def signal(self, step: str, signal: Signal) -> None:
        """Take what the leader says of a step."""
        if self._suspending:
            self._suspending = False
            for future in self._resumed:
                if not future.done():
                    future.set_result(None)
            self._resumed.clear()
        if not self.function.code.is_async:
            self._recorded[step] = 0
        self.mailbox.put(step, signal)

    def close(self) -> None:
        """End the execution: nothing more is reported; ``finally`` and ``with`` in the code run, without steps."""
        self.closed = True
        self._disarm()
        if self.task is not None and not self.finished:
            self.task.cancel()
        _cancel(self._askers, but=self.task)

    def open_tasks(self) -> set[asyncio.Task[Any]]:
        """Return what runs of the code, or waits for a step."""
        return {task for task in (self.task, *self._askers) if task is not None and not task.done()}

    def finish(self, conclusion: Input) -> None:
        """Note that the code has come to its end, and post what follows from it."""
        self.finished = True
        self._disarm()
        if not self.closed:
            if self.bodies and self.lent is None and not isinstance(conclusion, RetryRun):
                self.term.post(interrupted(self))
            self._post(conclusion)
        _cancel(self._askers, but=self.task)

    def name(self, id: str) -> str:
        """Return the id that a step is recorded by: the user's, or for its repeats ``id:1``, ``id:2``, ...

        Raises:
            StepUsageError: no step can be asked for here and now, or not by this id.
        """
        if self.closed or self.finished or self.unwound_at >= 0 or self.lent is not None:
            if self.lent is not None:
                self.lent.asked = True
                self.host.loop.call_soon_threadsafe(self.lent.interrupt)
            raise StepUsageError(f"step {id!r}: run {self.run_id} is being left; `finally` and `with` can call no step")
        if isinstance(scope.get(), CurrentStep):
            raise StepUsageError(f"step {id!r} is asked for inside another step's body; ask for it in the function")
        return unique(check_step_id(id), self._used)

    def enter(self, step: str, kind: str = "", detail: Any = None) -> bool:  # noqa: ARG002 - a rehearsal looks at them
        """Begin to deal with a step of a kind that the code asks for, and with what it is to do; return whether something is recorded of it."""
        self.busy += 1
        if self._timer is not None:
            self._disarm()
        if self.mailbox.tasks or not self.function.code.is_async:
            self._askers.add(asyncio.current_task(self.host.loop))
        if step in self._recorded:
            return True
        if self._unasked:
            self._unasked.clear()
        return False

    def leave(self) -> None:
        """Be done with a step that was entered."""
        self.busy -= 1
        if self._askers:
            self._askers.discard(asyncio.current_task(self.host.loop))
        if self.timed:
            self._arm()

    async def recall(self, step: str) -> Signal:
        """Return what is recorded of a step, once it is its turn, or its timer came due."""
        signal = self.mailbox.poll(step)
        if signal is None:
            if self.mailbox.has(step):
                signal = await self.mailbox.wait(step)
            else:
                self._unasked.discard(step)
                if not self.function.code.is_async:
                    self._unwind()
                signal = await self._until(self._recorded[step], self.mailbox.wait(step))
        self._unasked.discard(step)
        return signal

    def announce(self, step: str, command: Input, until: int) -> None:
        """Post that a step waits until about ``until`` (milliseconds), unless that is recorded; `recall` has its outcome."""
        due = self._recorded.get(step)
        if due:
            # It may be awaited long after, and what the code says until then is news.
            self._unasked.discard(step)
        elif due is None and not (self.closed or self.finished):
            self._recorded[step] = until
            self._unasked.clear()
            self._post(command)

    def may_begin(self) -> bool:
        """Return whether a step's body may begin now; if not, `hold` it."""
        return self._is_granted() and not (self._suspending or self.mailbox.crowded)

    async def hold(self) -> None:
        """Wait until a step's body may begin: not while outcomes wait for their turn, or the run may be unloaded."""
        if self.mailbox.crowded:
            await self.mailbox.settled()
        while self._suspending:
            await self._resumption()
        while not self._is_granted():  # noqa: ASYNC110 - a lease is a matter of time, and is renewed on another thread
            await asyncio.sleep(_LEASE_POLL_SECONDS)

    async def rewind(self) -> None:
        """Prepare for the code, which was left to wait for a timer, to begin anew: at once if one came due meanwhile.

        Otherwise the run is to be unloaded. The leader answers by ending this execution, or by a signal that it had sent.
        """
        if self.mailbox.received == self.unwound_at:
            self._suspend()
            await self._resumption()
        self._used.clear()
        self._unasked = set(self._recorded)
        self.unwound_at = -1

    async def report(self, step: str, command: Input) -> Signal:
        """Post what a step did; return what the leader answers."""
        answer = self.mailbox.wait(step)
        self._post(command)
        return await answer

    async def report_timed(self, step: str, command: Input, at: int) -> Signal:
        """Post that a step waits until about ``at`` (milliseconds); return what the leader says when it came due."""
        if not self.function.code.is_async:
            self._recorded[step] = at
            self._post(command)
            self._unwind()
        due = self.mailbox.wait(step)
        self._post(command)
        return await self._until(at, due)

    def _post(self, command: Input) -> None:
        if self.closed:
            # The body took its cancellation for something else. Another execution of the run may have begun by now.
            raise asyncio.CancelledError
        if self.lent is not None:
            self.lent.take(command)
        else:
            self.term.post(command)

    def _is_granted(self) -> bool:
        return self.lent is None and not self.host.draining and self.term.may_begin()

    def _unwind(self) -> NoReturn:
        self.unwound_at = self.mailbox.received
        raise Unwind

    async def _until(self, at: int, due: asyncio.Future[Signal]) -> Signal:
        """Wait for a timer; while the code waits for nothing else, the run can be unloaded."""
        self.busy -= 1
        self.timed.append(at)
        self._arm()
        try:
            return await due
        finally:
            self.busy += 1
            self.timed.remove(at)
            self._disarm()

    def _arm(self) -> None:
        if self.busy or self.finished or self.closed or self._timer:
            return
        loop, after = self.host.loop, self.host.unload_after
        # Somebody else may be waiting for the slot that is given back by being unloaded.
        if any(gate.mode == "release" for gate in self.run.gates):
            after = 0
        # A single task is nowhere else, so that nothing is cut short by leaving at once what will have to be left.
        if not self.mailbox.tasks and min(self.timed) > self.host.clock() + after * 1_000:
            self._timer = loop.call_later(0, self._unload_if_timed)
        else:
            self._timer = loop.call_later(after, self.mailbox.after_settling, self._unload_if_timed)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _unload_if_timed(self) -> None:
        self._timer = None
        if self.timed and not (self.busy or self.finished or self.closed or self._suspending):
            self._suspend()

    def _suspend(self) -> None:
        self._suspending = True
        self.term.post(Suspend(self.run_id, self.mailbox.received))

    async def _resumption(self) -> None:
        resumed: asyncio.Future[None] = self.host.loop.create_future()
        self._resumed.append(resumed)
        await resumed


def interrupted(execution: Execution) -> Interrupted:
    """Return what is to be told of the bodies that are running, when the code is left."""
    return Interrupted(execution.run_id, tuple((step, *body) for step, body in execution.bodies.items()))


def unique(id: str, used: dict[str, int]) -> str:
    """Return ``id``, or the first of ``id:1``, ``id:2``, ... that is not used; note it as used."""
    repeat = used.get(id)
    if repeat is None:
        used[id] = 1
        return id
    while (name := f"{id}:{repeat}") in used:
        repeat += 1
    used[id] = repeat + 1
    used[name] = 1
    return name


def _outcomes(steps: dict[str, Step]) -> list[tuple[str, Step]]:
    """Return the steps that are done, in the order in which they were recorded."""
    if not steps:
        return []
    final = [item for item in steps.items() if not item[1].wake_at]
    final.sort(key=lambda item: item[1].order)
    return final


def _cancel(askers: set[asyncio.Task[Any] | None], *, but: asyncio.Task[None] | None) -> None:
    """Cancel the tasks that wait for steps; others that the code has made, and left, may serve more than this run."""
    for task in askers:
        if task is not None and task is not but:
            task.cancel()
