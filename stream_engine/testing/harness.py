"""An app's worker in memory: the same core and the same execution as in production, without Kafka and without waiting.

One partition is led by the core's own leader. What it appends is acknowledged at once; what it sends to the events topic is
received and routed by the core as well. Time stands still while anything runs. When nothing does, it moves to the next
timer, as far as somebody waits for it; so sleeps and delays before retries take no time. A run that waits for timers is
unloaded at once, so every sleep also shows whether the function is executed again as it was executed before.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from stream_engine.core.duration import Duration, milliseconds
from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import Committed, Take
from stream_engine.core.partition.intake import leader_source
from stream_engine.core.partition.turn import Rules
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.history import CompletionDisposed, EventDisposed, HistoryRecord, RunEnded, RunStarted
from stream_engine.core.records.requests import Cancel, Commands, CompleteCallback, ReturnRun, ReturnStep
from stream_engine.core.records.tables import Outgoing
from stream_engine.core.routing.callback_event import completions
from stream_engine.core.routing.callback_token import is_genuine, read
from stream_engine.core.routing.dead_letter import parse
from stream_engine.core.routing.receive import Message as ReceivedMessage
from stream_engine.core.routing.receive import Rejection, receive
from stream_engine.core.routing.route import DeadLetter, Live, Router
from stream_engine.core.stages.commands import Input
from stream_engine.core.views.caused import INTERIM
from stream_engine.sdk.client import wall_clock
from stream_engine.sdk.codec import try_encode
from stream_engine.sdk.engine import Engine
from stream_engine.sdk.events import Event, Message
from stream_engine.sdk.execution import Executor
from stream_engine.sdk.slots import Capacity
from stream_engine.sdk.topics import Topics
from stream_engine.sdk.transport import ENDED, Outcome, settle_cancel
from stream_engine.testing.lane import MemoryLane
from stream_engine.testing.memory import TOPIC_ID, MemoryStore, MemoryTopic, MemoryTransport, lead
from stream_engine.testing.outcomes import Outcomes
from stream_engine.testing.runs import Run
from stream_engine.testing.waiting import Wait, Waits

_CAPACITY = Capacity(threads=8)
_OF_ANOTHER = frozenset({"duplicate", "batched"})
"""Dispositions that name a run which another event has."""
_SECRET = b"of the test"


class Harness:
    """A worker of an app in memory, for the time of an ``async with``.

    While it lasts, everything that the engine sends goes to it, `Function.start` and `Engine.send` in the test included.

    Attributes:
        produced: what runs have sent to other topics than the app's events.
        dead_letters: messages that are no events, with the reason.
    """

    def __init__(self, engine: Engine) -> None:
        self.produced: list[Outgoing] = []
        self.dead_letters: list[DeadLetter] = []
        self._engine = engine
        self._now = wall_clock()
        self._loop = asyncio.get_running_loop()
        self._graves = f"{engine.name}.dead-letters"
        self._topic = MemoryTopic(engine.events_topic, self._clock, self._wake)
        self._router = Router(TOPIC_ID, 0, 0, 1, live=Live(completions(engine.name, _SECRET, self._graves)))
        self._lane = MemoryLane()
        self._control, self._commands = f"{engine.name}.control", f"{engine.name}.commands"
        self._catalogue = engine.catalogue()
        self._store = MemoryStore()
        self._inputs: list[Take | Input] = []
        self._taken = 0
        self._appended = 0
        self._leader = self._lead()
        self._index = Outcomes(engine.name, engine.events_topic)
        self._open: set[str] = set()
        self._waits = Waits()
        self._awake = False
        self._executor = Executor(
            engine, capacity=_CAPACITY, unload_after=0, clock=self._clock, topics=Topics(None, _no_other_app)
        )
        self._executor.use_secret(_SECRET)
        self._dispositions: dict[str, str] = {}
        self._cleanup = ExitStack()

    @property
    def now(self) -> datetime:
        """The time of the test's clock."""
        return datetime.fromtimestamp(self._now / 1_000, UTC)

    async def send(self, events: Event[Any] | Iterable[Event[Any]]) -> list[str]:
        """Send events, and wait until all that follows at once has happened; return their ids."""
        ids = await self._engine.send(events)
        await self.settle()
        return ids

    async def settle(self) -> None:
        """Wait until everything that can happen without time passing has happened."""
        await self._wait(Wait(self._now, _never))

    async def advance(self, duration: Duration | None = None) -> None:
        """Let time pass, and everything happen that falls into it; without a duration, until every run has ended."""
        if duration is None:
            await self._wait(Wait(None, lambda: not (self._open or self._inputs or self._topic)))
        else:
            await self._wait(Wait(self._now + milliseconds(duration), _never))

    async def complete(self, token: str, data: Any = None) -> str:
        """Complete a callback, as ``stream-engine callbacks complete`` does, and wait until all that follows at once has happened.

        Returns ``completed``; or why it was refused: ``already-completed``, ``timed-out``, ``run-ended`` or ``forged``.
        """
        named = read(token)
        if named is None or named.app != self._engine.name or not is_genuine(_SECRET, token):
            return "forged"
        name = f"completion-{len(self._dispositions)}"
        self.post(CompleteCallback(named.run_id, named.step_id, try_encode(data), name, "test"))
        await self.settle()
        return self._dispositions[name]

    def runs(self, function: str | None = None, status: str | None = None) -> list[Run]:
        """Return the runs so far, in the order in which they were first heard of; all, or those of a function or status."""
        folded = (self._index.get(run_id) for run_id in self._index)
        runs = [Run.of(run) for run in folded if run is not None]
        return [run for run in runs if function in (None, run.function) and status in (None, run.status)]

    def post(self, command: Input) -> None:
        """Take what an execution reports."""
        self._inputs.append(command)
        self._wake()

    def may_begin(self) -> bool:
        """Return True: nobody else leads."""
        return True

    def give_back(self, command: ReturnStep | ReturnRun) -> None:
        """Do nothing: the lead is never given up."""

    async def __aenter__(self) -> Self:
        transport = MemoryTransport(self._topic, self._outcome, self._cancel)
        self._cleanup.enter_context(self._engine.client.instead(transport, self._clock))
        await self._executor.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        with self._cleanup:
            await self._executor.aclose()
            self._waits.end_all()

    def _clock(self) -> int:
        return self._now

    def _lead(self) -> Leader:
        engine = self._engine
        own = engine.name, engine.rules_functions(), 1, self._commands, leader_source(TOPIC_ID, 0), 0
        rules = Rules(*own, events_topic=engine.events_topic, control_topic=self._control)
        self._appended += 1
        return lead(self._store, self._now, rules)

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        try:
            self._decide()
        except BaseException as error:
            # Nobody would get to know of it in a callback of the event loop, and the test would wait for ever.
            self._waits.fail(error)
            raise

    def _decide(self) -> None:
        self._awake = False
        while self._topic:
            self._route()
        self._take(self._lane.caught_up(self._now))
        while self._inputs or self._is_due():
            raw = self._leader.decide(self._inputs, self._now)
            if raw is not None:
                self._commit(self._leader.acknowledged(self._appended))
                self._appended += 1
        self._waits.end_those_over()
        if not (self._leader.running or self._inputs or self._topic or self._lane.asks):
            self._pass_time()

    def _is_due(self) -> bool:
        due = self._leader.due()
        return due is not None and due <= self._now

    def _route(self) -> None:
        message = self._topic.take()
        event = receive(message, self._engine.checks())
        routed = self._router.route([(message, event)], message.offset + 1, self._catalogue.match)
        self.dead_letters.extend(routed.dead_letters)
        for _ in routed.dead_letters:
            self._router.acknowledged(routed.ticket)
        for _, raw in routed.commands:
            self._take([decode_commands(raw)])
            self._router.acknowledged(routed.ticket)
        self._take(self._lane.route(message, event))

    def _take(self, records: Iterable[Commands]) -> None:
        for commands in records:
            self._inputs.append(Take(self._taken, commands))
            self._taken += 1

    def _commit(self, committed: Committed) -> None:
        self._store.write(committed.change)
        if committed.asks:
            self._lane.asks = True
            self._wake()
        for key, message in committed.sends:
            self._deliver(message)
            self._leader.sent(key)
        mark = committed.told.mark
        for index, record in enumerate(committed.told.records):
            self._index.add(f"0.{mark.epoch}.{mark.n}.{index}", record)
            self._note(record)
        self._leader.told(mark)
        self._executor.perform(self, committed.effects)

    def _deliver(self, message: Outgoing) -> None:
        if message.topic == self._graves:
            self.dead_letters.append(_letter(message))
        elif message.topic == self._control:
            self._take(self._lane.control(message))
        elif message.topic == self._commands and message.value is not None:
            self._take([decode_commands(message.value)])
        elif message.topic == self._topic.name:
            self._topic.append(Message(message.key, message.value or b"", list(message.headers)))
        else:
            self.produced.append(message)

    def _note(self, record: HistoryRecord) -> None:
        if isinstance(record, CompletionDisposed):
            self._dispositions[record.completion_id] = record.disposition
            return
        if isinstance(record, RunStarted) or (isinstance(record, EventDisposed) and record.disposition in INTERIM):
            self._open.add(record.run_id)
        elif isinstance(record, RunEnded) or (
            isinstance(record, EventDisposed) and record.disposition not in _OF_ANOTHER
        ):
            self._open.discard(record.run_id)

    def _pass_time(self) -> None:
        """Nothing runs: move on to what happens next, if somebody waits for it."""
        due = self._leader.due()
        at = self._waits.next_time(due)
        if at is None:
            self._waits.end_all()
            return
        self._now = max(self._now, at)
        if due is not None and due <= self._now:
            # What falls on the very moment at which a wait ends happens first.
            self._wake()
        else:
            self._waits.end_those_due(self._now)

    async def _wait(self, wait: Wait) -> None:
        self._waits.add(wait)
        self._wake()
        await asyncio.wrap_future(wait.future)

    def _outcome(self, run_id: str, timeout: float | None) -> Future[Outcome]:
        """Return the outcome of a run; from any thread."""
        outcome: Future[Outcome] = Future()

        def answer(waited: "Future[None]") -> None:
            if (error := waited.exception()) is not None:
                outcome.set_exception(error)
            elif not outcome.done():
                outcome.set_result(self._index.outcome(run_id))

        def ask() -> None:
            until = None if timeout is None else self._now + round(timeout * 1_000)
            wait = Wait(until, lambda: self._index.outcome(run_id).status in ENDED)
            wait.future.add_done_callback(answer)
            self._waits.add(wait)
            self._wake()

        self._loop.call_soon_threadsafe(ask)
        return outcome

    def _cancel(self, run_id: str, reason: str) -> Future[None]:
        """Have a run cancelled; from any thread."""
        taken: Future[None] = Future()

        def take() -> None:
            if not settle_cancel(self._index.answers, run_id, taken):
                self.post(Cancel(run_id, reason, seek=True))
                taken.set_result(None)

        self._loop.call_soon_threadsafe(take)
        return taken


def _letter(message: Outgoing) -> DeadLetter:
    """Return the dead letter that a leader has written."""
    letter = parse((0, 0), 0, message.key, message.value, list(message.headers))
    place = letter.topic, TOPIC_ID, letter.partition, letter.offset
    return DeadLetter(
        ReceivedMessage(*place, 0, letter.key, letter.value, tuple(letter.headers)),
        Rejection(letter.reason, letter.detail),
        letter.function or "",
    )


def _no_other_app(_topic: str) -> int:
    return 0


def _never() -> bool:
    return False
