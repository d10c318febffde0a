"""A term that tests script: it keeps what executions post, and is told what to answer."""

import asyncio
from collections.abc import Callable
from typing import Any

from stream_engine.core.partition.turn import Deliver, Execute
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import ReturnRun, ReturnStep
from stream_engine.core.records.tables import Run, Step
from stream_engine.core.stages.commands import FinishRun, Input, RecordStep, Sleep
from stream_engine.sdk.execution import Executor

RUN = "run-0"


class ScriptedTerm:
    """Leads one run of the only function of an app; a step's outcome is what was posted, when the test says so."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.posted: list[Input] = []
        self.order: list[tuple[str, Step]] = []
        self.lease = True
        self.returned: list[ReturnStep | ReturnRun] = []

    def post(self, command: Input) -> None:
        self.posted.append(command)

    def may_begin(self) -> bool:
        return self.lease

    def give_back(self, command: ReturnStep | ReturnRun) -> None:
        self.returned.append(command)

    def execute(self, function: str, steps: dict[str, Step] | None = None, **header: Any) -> None:
        event = Event("start", "id:1", "1", 0, 0, "topic", 0, 0, b'{"n":1}')
        run = Run(function, "1", "running", "root", 0, 1, **header)
        self.executor.perform(self, [Execute(RUN, run, event, steps or {})])

    def waiting(self) -> dict[str, RecordStep | Sleep]:
        """What was posted of steps, and not answered."""
        answered = {step for step, _ in self.order}
        steps = (command for command in self.posted if isinstance(command, RecordStep | Sleep))
        return {command.step_id: command for command in steps if command.step_id not in answered}

    def answer(self, *steps: str) -> None:
        """Deliver outcomes in this order, in one group of decisions."""
        effects = []
        for step in steps:
            command = self.waiting()[step]
            result = command.result if isinstance(command, RecordStep) else b"null"
            kind = command.kind if isinstance(command, RecordStep) else "sleep"
            outcome = Step(kind, "completed", len(self.order), 0, 0, 0, result=result)
            self.order.append((step, outcome))
            effects.append(Deliver(RUN, step, outcome))
        self.executor.perform(self, effects)

    @property
    def result(self) -> bytes | None:
        """What the run returned, as JSON."""
        return next((command.result for command in self.posted if isinstance(command, FinishRun)), None)


async def settle() -> None:
    """Let the event loop turn until nothing that is ready is left."""
    for _ in range(200):
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds that threads bring about."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - anything may be the condition
            await asyncio.sleep(0.002)
