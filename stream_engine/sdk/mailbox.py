"""Outcomes of a run's steps, handed one at a time to the code that waits for them, in the order of the journal.

Code that waits for several steps at once may choose by which comes first: ``asyncio.wait``, ``as_completed``, or plain
shared variables. It has to choose alike when the run is executed again, and all outcomes are there at once. So an outcome
is only handed over when the code has *settled*: when it has done all that it does without another one. Live outcomes that
arrive together, in one group of decisions, are handed over by the same rule.

While the code is a single task, waiting for an outcome is being settled, and nothing has to be awaited. With more tasks, it
is settled when the event loop has nothing ready to run that is the code's own; whatever else the loop has to do does not
matter. Tasks and futures of every kind go on by ``loop.call_soon``, in the context of the code that they belong to, and what
it is given runs in that order. So the mailbox has its own callback wait in the same line: if, since it joined the line, nothing
of the code has joined behind it, then all that was ready has run when it is its turn, and made nothing else ready. This holds
for chains of futures of any length, and costs one turn of the loop more than the code itself takes.

Two things remain. Code that never settles, because a task of it polls with ``sleep(0)``, is given its outcomes all the same,
each after `_MOST_TURNS` turns; such code may go another way when it is executed again. And what the code has others do for it,
in a context that is not the run's, is not seen: timers, threads, sockets, tasks made with an empty context. What they bring
about comes at its own time in any case; it belongs into a step.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial
from typing import Any

from stream_engine.core.records.tables import Step
from stream_engine.sdk.scope import scope

_MOST_TURNS = 10_000

Signal = Step | int
"""The outcome of a step, or the number of the attempt that it is to be given next."""


class Mailbox:
    """The outcomes of one execution of a run.

    Attributes:
        moved: whether something of the run's code has been made ready to run since this was last set to False.
        received: how many signals have arrived since the execution began.
        tasks: how many tasks the run's code has, besides the one that it began as.
    """

    __slots__ = ("_box", "_keep", "_loop", "_ready", "_settled", "_turns", "_waiting", "moved", "received", "tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop, recorded: Iterable[tuple[str, Step]], *, keep: bool) -> None:
        """Begin with the outcomes ``recorded``, in order; with ``keep``, outcomes can be taken again and again."""
        self.moved = False
        self.received = 0
        self.tasks = 0
        self._loop = loop
        self._keep = keep
        self._box: dict[str, Signal] = dict(recorded)
        self._waiting: dict[str, asyncio.Future[Signal]] = {}
        self._settled: list[Callable[[], None]] = []
        self._turns = 0
        self._ready: _Ready | None = None

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Count a task that the code has made."""
        self.tasks += 1
        task.add_done_callback(self._lost)

    @property
    def crowded(self) -> bool:
        """Whether outcomes are there that tasks may have to take turns for."""
        return bool(self.tasks and self._box)

    def has(self, step: str) -> bool:
        """Return whether a signal for a step is here."""
        return step in self._box

    def poll(self, step: str) -> Signal | None:
        """Return a step's signal if it may be had at once."""
        signal = self._box.get(step)
        if signal is None or (self.tasks and not isinstance(signal, int)):
            return None
        if not self._keep or isinstance(signal, int):
            del self._box[step]
        return signal

    def wait(self, step: str) -> asyncio.Future[Signal]:
        """Return a future of a step's next signal."""
        future: asyncio.Future[Signal] = self._loop.create_future()
        self._waiting[step] = future
        if self.tasks and self._box:
            self._watch()
        return future

    def put(self, step: str, signal: Signal) -> None:
        """Take a signal that has arrived."""
        self.received += 1
        is_outcome = not isinstance(signal, int)
        if self.tasks and is_outcome:
            self._box[step] = signal
            self._watch()
        elif not self._hand_over(step, signal) or (self._keep and is_outcome):
            self._box[step] = signal

    def after_settling(self, call: Callable[[], None]) -> None:
        """Call something once the code has settled and there is nothing more to hand over to it."""
        self._settled.append(call)
        self._watch()

    async def settled(self) -> None:
        """Wait until the code has settled."""
        settled: asyncio.Future[None] = self._loop.create_future()
        self.after_settling(partial(_release, settled))
        await settled

    def _lost(self, _task: asyncio.Task[Any]) -> None:
        self.tasks -= 1

    def _watch(self) -> None:
        if self._ready is None:
            self._ready = _Ready.of(self._loop)
            self._ready.enter()
            self._join(self._ready)

    def _join(self, ready: "_Ready") -> None:
        ready.plain(self._turn)
        self.moved = False  # last: neither joining counts, nor what is in the line before it

    def _turn(self) -> None:
        ready = self._ready
        assert ready is not None
        self._turns += 1
        if self.moved and self._turns < _MOST_TURNS:
            self._join(ready)
            return
        self._turns = 0
        if self._hand_over_next():
            self._join(ready)
            return
        self._ready = None
        ready.leave()
        settled, self._settled = self._settled, []
        for call in settled:
            call()

    def _hand_over_next(self) -> bool:
        for step, signal in self._box.items():
            if self._hand_over(step, signal):
                if not self._keep:
                    del self._box[step]
                return True
        return False

    def _hand_over(self, step: str, signal: Signal) -> bool:
        future = self._waiting.pop(step, None)
        if future is None or future.done():  # nobody has asked yet, or whoever did was cancelled
            return False
        future.set_result(signal)
        return True


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():  # whoever waited may have been cancelled
        future.set_result(None)


class _Ready:
    """Sees what is made ready to run on an event loop, while mailboxes on it wait for code to settle.

    Attributes:
        plain: the loop's ``call_soon`` without it.
    """

    __slots__ = ("_loop", "_own", "_watching", "plain")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.plain = loop.call_soon
        self._loop = loop
        self._own = "call_soon" in vars(loop)
        self._watching = 0

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "_Ready":
        """Return the one that is in place on a loop, or one that is not yet."""
        there = getattr(loop.call_soon, "__self__", None)
        return there if isinstance(there, cls) else cls(loop)

    def enter(self) -> None:
        """Be in place, for one more mailbox."""
        if not self._watching:
            self._loop.call_soon = self._call_soon  # type: ignore[method-assign,assignment] # the only way to see it
        self._watching += 1

    def leave(self) -> None:
        """Be in place for one mailbox less; after the last, the loop is what it was before."""
        self._watching -= 1
        if self._watching or self._loop.call_soon != self._call_soon:  # somebody may have taken the place meanwhile
            return
        if self._own:
            self._loop.call_soon = self.plain  # type: ignore[method-assign] # gives back what was there
        else:
            del self._loop.call_soon

    def _call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        # Only executions, which this module cannot know, have a mailbox: the bodies of steps do not, and need not settle.
        mailbox: Mailbox | None = getattr(scope.get() if context is None else context.get(scope), "mailbox", None)
        if mailbox is not None:
            mailbox.moved = True
        return self.plain(callback, *args, context=context)
