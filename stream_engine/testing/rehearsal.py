"""Executes runs once more as their history has them, with the code that is here, and tells how they differ. Nothing is done.

A run is put into the state of a partition in memory as a takeover would find it: begun, with the outcomes of its steps. The core's leader resumes it,
and the executor calls its function. What history has answers the steps; a step that it does not have is held for ever, before its body is called (see
`stream_engine.core.views.rehearsal`). Delays before the next attempt of a function take no time.

What lies outside of steps is executed: the function's own code, and middleware around runs and sends. Middleware around steps is not, because no step is.
Events that are sent outside of steps go nowhere. The lifespan is entered only where that is asked for, because it connects to the world: without it,
``ctx.app`` is a `StandIn`, which may be handed to steps and must not be looked at.
"""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NoReturn, Self, cast

from msgspec.structs import replace

from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import Change, Take
from stream_engine.core.partition.intake import leader_source
from stream_engine.core.partition.turn import Execute, Rules
from stream_engine.core.partition.turn import Function as FunctionRules
from stream_engine.core.records.history import RunEnded
from stream_engine.core.records.journal import Event
from stream_engine.core.records.origin import Logs, Origin
from stream_engine.core.records.requests import ReturnRun, ReturnStep, Span
from stream_engine.core.records.tables import EVENTS, GATHERED, RUNS, STEPS, Run, Step, encode
from stream_engine.core.stages.callbacks import KIND as CALLBACK
from stream_engine.core.stages.commands import Input
from stream_engine.core.views.rehearsal import Course, Difference, Past, SentEvent
from stream_engine.sdk.codec import decode_plain
from stream_engine.sdk.codec import encode as encode_json
from stream_engine.sdk.engine import Engine
from stream_engine.sdk.events import Message
from stream_engine.sdk.execution import Executor, stopped
from stream_engine.sdk.function import Function
from stream_engine.sdk.invoking import Callee
from stream_engine.sdk.mailbox import Signal
from stream_engine.sdk.run import Execution, Host, Term
from stream_engine.sdk.step import Make
from stream_engine.sdk.topics import Topics
from stream_engine.sdk.transport import Outcome
from stream_engine.testing.memory import TOPIC_ID, MemoryStore

_ORIGIN = Origin(Logs("rehearsal", TOPIC_ID, TOPIC_ID, 1), 0)
_STOP_SECONDS = 5.0
_NEVER = 1e9


class StandInError(RuntimeError):
    """Code looks at what the lifespan would have made, outside of its steps."""


class StandIn:
    """Stands for ``ctx.app`` and what is in it, where the lifespan was not entered: to be handed to steps, and not to be looked at."""

    def __init__(self, path: str, misused: list[str]) -> None:
        self._path = path
        self._misused = misused

    def __getattr__(self, name: str) -> "StandIn":
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self._path}.{name}", self._misused)

    def __repr__(self) -> str:
        return f"<{self._path}, without its lifespan>"

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        self._misused.append(self._path)
        raise StandInError(f"{self._path} is looked at outside of a step, and the lifespan was not entered")

    __bool__ = __call__ = __eq__ = __getitem__ = __iter__ = __len__ = __str__ = _refuse
    __hash__ = object.__hash__


class Rehearsal:
    """Rehearses runs of an app, for the time of an ``async with``."""

    def __init__(self, engine: Engine, *, lifespan: bool = False, seconds: float = 10.0) -> None:
        """Prepare; code that has not come to its end, or to a step that it waits for, in so many ``seconds`` is given up."""
        self._engine = engine
        self._seconds = seconds
        self._misused: list[str] = []
        stand_in = None if engine.lifespan is None or lifespan else StandIn("ctx.app", self._misused)
        self._executor = _Executor(engine, stand_in)
        self._functions = {
            id: replace(rules, on_failure=None, on_cancel=None, crons=())
            for id, rules in engine.rules_functions().items()
        }
        self._cleanup = ExitStack()

    def use_secret(self, secret: bytes) -> None:
        """Make the tokens of callbacks with the app's secret, so that they are what they were."""
        self._executor.use_secret(secret)

    def has(self, function: str) -> bool:
        """Return whether the app has a function, or a handler, of this id."""
        return function in self._functions

    async def rehearse(self, past: Past, event: Event, events: Sequence[Event] = ()) -> Difference | None:
        """Execute a run once more; return the first thing that differs, or None. ``events`` has all, where it has several.

        Raises:
            StandInError: its code needs the lifespan.
        """
        course = Course(past)
        self._misused.clear()
        term = _Term(self._functions, self._executor, course)
        term.lead(past, event, events)
        try:
            await asyncio.wait_for(asyncio.shield(term.over), self._seconds)
        except TimeoutError:
            course.never_ends(self._seconds)
        finally:
            await term.leave()
        if self._misused:
            path, function = self._misused[0], past.started.function
            raise StandInError(f"{function} looks at {path} outside of its steps, and the lifespan was not entered")
        return course.difference

    async def __aenter__(self) -> Self:
        transport = _Nowhere()
        self._cleanup.enter_context(self._engine.client.instead(transport, self._engine.client.clock))
        await self._executor.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        with self._cleanup:
            await self._executor.aclose()


class _Term:
    """The leader of a partition in memory with a single run, and the term of its execution."""

    def __init__(self, functions: dict[str, FunctionRules], executor: "_Executor", course: Course) -> None:
        self.course = course
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.execution: _Execution | None = None
        self._functions = functions
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._store = MemoryStore()
        self._leader: Leader | None = None
        self._inputs: list[Take | Input] = []
        self._appended = 0
        self._now = 0

    def lead(self, past: Past, event: Event, events: Sequence[Event]) -> None:
        """Take the partition over, with the run in it; its execution begins."""
        candidate = Candidate("rehearsal", self._store, _ORIGIN)
        self._now = past.started.at
        claim = candidate.campaign(self._now)
        for offset in candidate.elected(self._appended):
            change = candidate.replay(offset, claim)
            assert change is not None
            self._store.write(change)
        self._appended += 1
        self._store.write(Change(list(_state(past, event, events)), []))
        topic = "rehearsal.commands"
        self._leader = candidate.lead(Rules("rehearsal", self._functions, 1, topic, leader_source(TOPIC_ID, 0), 0))
        self._decide()

    def post(self, command: Input) -> None:
        """Take what the execution reports."""
        self._inputs.append(command)
        self._loop.call_soon(self._turn)

    def may_begin(self) -> bool:
        """Return False: no step's body is called."""
        return False

    def give_back(self, command: ReturnStep | ReturnRun) -> None:
        """Do nothing: nothing is lent."""

    def settled(self) -> None:
        """The code waits for steps that nothing answers, and has nothing else to do."""
        if self.execution is None or self.execution.finished:
            return
        self.course.waits()
        self._end()

    async def leave(self) -> None:
        """End the execution, and wait a moment until its code has stopped."""
        execution = self.execution
        self._executor.end_term(self)
        if execution is not None and not execution.finished:
            await asyncio.wait([asyncio.ensure_future(stopped(execution))], timeout=_STOP_SECONDS)

    def _turn(self) -> None:
        try:
            self._decide()
        except Exception as error:  # noqa: BLE001 - whoever waits is told; in a callback of the loop nobody would be
            if not self.over.done():
                self.over.set_exception(error)

    def _decide(self) -> None:
        leader = self._leader
        assert leader is not None
        while not self.course.over and (self._inputs or self._is_due(leader)):
            raw = leader.decide(self._inputs, self._now)
            if raw is None:
                continue
            committed = leader.acknowledged(self._appended)
            self._appended += 1
            self._store.write(committed.change)
            for record in committed.told.records:
                if isinstance(record, RunEnded):
                    self.course.ends(record)
                    self._end()
            leader.told(committed.told.mark)
            self._executor.perform(self, committed.effects)

    def _is_due(self, leader: Leader) -> bool:
        due = leader.due()
        if due is None:
            return False
        if due > self._now and not leader.running:
            self._now = due
        return due <= self._now

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class _Execution(Execution):
    """An execution whose steps are answered by history, or not at all."""

    __slots__ = ("_course", "_makes")

    def __init__(self, host: Host, term: Term, effect: Execute, function: Function[..., Any]) -> None:
        super().__init__(host, term, effect, function)
        rehearsed = cast("_Term", term)
        rehearsed.execution = self
        self._course = rehearsed.course
        self._course.begin()
        self._makes: dict[str, Make] = {}

    @property
    def replaying(self) -> bool:
        """Return True: what the run's code logs has been logged."""
        return True

    def announce(self, step: str, command: Input, until: int) -> None:
        """Note what the code asks for, and will wait for some time; what history has no outcome of begins no wait."""
        self._course.asks(step, CALLBACK)
        if step in self._recorded:
            super().announce(step, command, until)

    def enter(self, step: str, kind: str = "", detail: Any = None) -> bool:
        """Note what the code asks for."""
        if kind == CALLBACK:
            return super().enter(step, kind, detail)
        asked = detail if kind == "sleep" else None
        if kind == "wait":
            wanted, within = detail
            asked = str(wanted), within
        if isinstance(detail, Callee) and detail.app == self.host.app_name:
            asked = detail.function
        self._course.asks(step, kind, asked)
        known = super().enter(step, kind, detail)
        if known and kind == "send_event":
            self._makes[step] = detail
        return known

    async def recall(self, step: str) -> Signal:
        """Return what history has of a step; what it would send is made first, and compared."""
        make = self._makes.pop(step, None)
        if make is not None and self._course.past.steps[step].status == "completed":
            _, sends = await make()
            self._course.sends(step, [_sent(message.key, message.value or b"") for _, message in sends])
        signal = await super().recall(step)
        self._course.answered(step)
        return signal

    def may_begin(self) -> bool:
        """Return False: see `hold`."""
        return False

    async def hold(self) -> None:
        """Wait until the execution is left; once the code has nothing else to do, that is where it differs."""
        term = cast("_Term", self.term)
        self.mailbox.after_settling(term.settled)
        await self.host.loop.create_future()


class _Executor(Executor):
    """Makes executions that do nothing."""

    execution_type: type[Execution] = _Execution

    def __init__(self, engine: Engine, stand_in: StandIn | None) -> None:
        """With a stand-in for what the lifespan makes, the lifespan is not entered."""
        super().__init__(engine, unload_after=_NEVER, stall_after=_NEVER, topics=Topics(None))
        self.use_secret(b"of a rehearsal")
        if stand_in is not None:
            self._lifespan = None
            self._host.app = stand_in


class _Nowhere:
    """What the app sends with meanwhile, outside of its steps; see `stream_engine.sdk.transport.Transport`."""

    def send(self, messages: Sequence[Message]) -> "Future[list[str]]":
        """Drop messages; return places that are none."""
        return _done([f"rehearsal/0/{number}" for number in range(len(messages))])

    def run_outcome(self, run_id: str, timeout: float | None) -> "Future[Outcome]":  # noqa: ARG002 - a `Transport`
        """Say that nothing is known."""
        return _done(Outcome("queued"))

    def cancel(self, run_id: str, reason: str) -> "Future[None]":  # noqa: ARG002 - a `Transport`
        """Cancel nothing."""
        return _done(None)

    def partitions(self) -> "Future[int]":
        """Return 1."""
        return _done(1)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def _done(value: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def _sent(key: bytes | None, value: bytes) -> SentEvent:
    event = decode_plain(value)
    return SentEvent(event["id"], event["name"], key, encode_json(event["data"]))


def _state(past: Past, event: Event, events: Sequence[Event]) -> Iterable[tuple[bytes, bytes]]:
    """Give what a takeover finds of the run: its header, its event, and the steps that have their outcomes."""
    started = past.started
    run_id, span = started.run_id, Span("events", len(events)) if events else None
    # A run that goes on stays on its version while the app has it; one that has ended would begin on the current one.
    version = "" if past.concluded else past.version
    run = Run(
        started.function,
        version,
        "running",
        run_id.rpartition("-")[0],
        started.created_at,
        started_at=started.at,
        replay_id=started.replay_id,
        of_run=started.of_run,
        error=past.error,
        span=span,
    )
    yield RUNS.key(run_id), encode(run)
    yield EVENTS.key(run_id), encode(event)
    for number, each in enumerate(events):
        yield GATHERED.numbered_key("events", number), encode(each)
    for step in past.steps.values():
        if step.settled:
            result = None if step.result is None else step.result.encode()
            times = (step.started_at, step.at)
            # That nobody completed a callback in time is no error to the function.
            error = None if step.kind == CALLBACK else step.error
            row = Step(step.kind, step.status, step.order, step.attempt, *times, 0, result, error, step.reason)
            yield STEPS.key(run_id, step.id), encode(row)
