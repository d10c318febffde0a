"""What goes on in a worker after its term of leading a partition: see `stream_engine.core.stages.lend`."""

from collections.abc import Callable

from stream_engine.core.failure import Failure
from stream_engine.core.records.requests import ReturnRun, ReturnStep
from stream_engine.core.stages.commands import (
    FailRun,
    FailStep,
    FinishRun,
    Input,
    LendRun,
    LendStep,
    RecordStep,
    RetryRun,
)

GiveBack = Callable[[ReturnStep | ReturnRun], None]


class Lent:
    """What one execution goes on with: the bodies of some steps, or else its code, until that asks for another step.

    Each is given back when it ends, and ``over`` is called when there is nothing left.

    Attributes:
        asked: whether the code has asked for another step, which it cannot have here; set before `interrupt`, from any thread.
    """

    def __init__(
        self,
        run_id: str,
        attempt: int,
        steps: dict[str, tuple[int, int]],
        give_back: GiveBack,
        over: Callable[[], None],
    ) -> None:
        self.asked = False
        self._over = over
        self._run_id = run_id
        self._attempt = attempt
        self._steps = set(steps)
        self._bodies = dict(steps)
        self._code = not steps
        self._give_back = give_back

    def commands(self, lease: int) -> list[LendStep | LendRun]:
        """Return what the leader is to be told; ``lease`` is in milliseconds."""
        if self._code:
            return [LendRun(self._run_id, lease)]
        return [LendStep(self._run_id, step, *body, lease) for step, body in self._bodies.items()]

    def take(self, command: Input) -> None:
        """Take what the execution would have told its leader."""
        if isinstance(command, RecordStep | FailStep):
            if command.step_id in self._steps:
                self._steps.discard(command.step_id)
                self._give_back(_returned_step(command))
                if not self._steps:
                    self._over()
        elif self.asked:
            self.interrupt()
        elif isinstance(command, FinishRun):
            self._return_code(command.result)
        elif isinstance(command, FailRun):
            self._return_code(None, command.error)
        elif isinstance(command, RetryRun):
            self._return_code(None, command.error, command.delay)

    def interrupt(self) -> None:
        """Leave the code, which has asked for another step."""
        self._return_code(None)

    def give_up(self) -> None:
        """Give back everything that has not come to its end."""
        for step in sorted(self._steps):
            attempt, started_at = self._bodies[step]
            self._give_back(ReturnStep(self._run_id, step, attempt, started_at, None))
        self._steps.clear()
        self._return_code(None)

    def _return_code(self, result: bytes | None, error: Failure | None = None, retry_in: int | None = None) -> None:
        if self._code:
            self._code = False
            self._give_back(ReturnRun(self._run_id, self._attempt, result, error, retry_in))
            self._over()


def _returned_step(command: RecordStep | FailStep) -> ReturnStep:
    run_id, step_id, attempt, started_at = command.run_id, command.step_id, command.attempt, command.started_at
    if isinstance(command, RecordStep):
        return ReturnStep(run_id, step_id, attempt, started_at, command.result)
    return ReturnStep(run_id, step_id, attempt, started_at, None, command.error, command.retry_in)
