"""Outcomes of a run's steps, handed one at a time to the code that waits for them, in the order of the journal.

Code that waits for several steps at once may choose by which comes first: ``asyncio.wait``, ``as_completed``, or plain
shared variables. It has to choose alike when the run is executed again, and all outcomes are there at once. So an outcome
is only handed over when the code has *settled*: when it has done all that it does without another one. Live outcomes that
arrive together, in one group of decisions, are handed over by the same rule.

While the code is a single task, waiting for an outcome is being settled, and nothing has to be awaited. With more tasks, it
is settled once nothing has happened in it for some turns of the event loop: nothing asked for, no task made or ended. A
task that ends wakes whoever waits for it one turn later, and each future in between takes another; `_QUIET_TURNS` allows for
longer chains than ``gather`` in ``wait_for`` in ``TaskGroup`` makes.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from stream_engine.core.tables import Step

_QUIET_TURNS = 6

Signal = Step | int
"""The outcome of a step, or the number of the attempt that it is to be given next."""


class Mailbox:
    """The outcomes of one execution of a run.

    Attributes:
        received: how many signals have arrived since the execution began.
        tasks: how many tasks the run's code has, besides the one that it began as.
    """

    __slots__ = ("_box", "_keep", "_loop", "_quiet", "_settled", "_turning", "_waiting", "received", "tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop, recorded: Iterable[tuple[str, Step]], *, keep: bool) -> None:
        """Begin with the outcomes ``recorded``, in order; with ``keep``, outcomes can be taken again and again."""
        self.received = 0
        self.tasks = 0
        self._loop = loop
        self._keep = keep
        self._box: dict[str, Signal] = dict(recorded)
        self._waiting: dict[str, asyncio.Future[Signal]] = {}
        self._settled: list[Callable[[], None]] = []
        self._quiet = 0
        self._turning = False

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Count a task that the code has made."""
        self.tasks += 1
        self.stir()
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
        if self.tasks:
            self.stir()
        return future

    def put(self, step: str, signal: Signal) -> None:
        """Take a signal that has arrived."""
        self.received += 1
        is_outcome = not isinstance(signal, int)
        if self.tasks and is_outcome:
            self._box[step] = signal
            self.stir()
        elif not self._hand_over(step, signal) or (self._keep and is_outcome):
            self._box[step] = signal

    def stir(self) -> None:
        """Note that the code has done something, so that it is not settled yet."""
        self._quiet = 0
        if not self._turning and (self._box or self._settled):
            self._turning = True
            self._loop.call_soon(self._turn)

    def after_settling(self, call: Callable[[], None]) -> None:
        """Call something once the code has settled and there is nothing more to hand over to it."""
        self._settled.append(call)
        self.stir()

    async def settled(self) -> None:
        """Wait until the code has settled."""
        settled: asyncio.Future[None] = self._loop.create_future()
        self.after_settling(partial(_release, settled))
        await settled

    def _lost(self, _task: asyncio.Task[Any]) -> None:
        self.tasks -= 1
        self.stir()

    def _turn(self) -> None:
        self._quiet += 1
        if self._quiet >= _QUIET_TURNS:
            if not self._hand_over_next():
                self._turning = False
                settled, self._settled = self._settled, []
                for call in settled:
                    call()
                return
            self._quiet = 0
        self._loop.call_soon(self._turn)

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
