"""What a function is handed: its event, its run, its steps."""

import logging
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from stream_engine.sdk.events import Event, ReceivedEvent
from stream_engine.sdk.run import Execution
from stream_engine.sdk.steps import Steps, SyncSteps

if TYPE_CHECKING:
    # Generic to type checkers only.
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter

T = TypeVar("T", default=dict[str, Any])


class RunLogger(_Adapter):
    """Logs for a run, each record with ``run_id`` and ``function``; silent while recorded steps are passed again."""

    def __init__(self, execution: Execution) -> None:
        code = execution.function.code.call
        extra = {"run_id": execution.run_id, "function": execution.run.function}
        super().__init__(logging.getLogger(getattr(code, "__module__", None) or __name__), extra)
        self._execution = execution

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - overrides logging's
        """Return whether a record of this level would be logged now."""
        return not self._execution.replaying and super().isEnabledFor(level)


class _Context(Generic[T]):
    """What both kinds of functions are handed.

    Attributes:
        app: what the lifespan yielded; None without one.
    """

    __slots__ = ("_event", "_execution", "_logger", "app")

    def __init__(self, execution: Execution) -> None:
        self.app: Any = execution.host.app
        self._execution = execution
        self._event: Event[T] | None = None
        self._logger: RunLogger | None = None

    @property
    def event(self) -> Event[T]:
        """The event that the run is about."""
        if self._event is None:
            self._event = ReceivedEvent(self._execution.event, self._execution.function.code.decode_event)
        return self._event

    @property
    def events(self) -> list[Event[T]]:
        """All events that the run is about: a batch's, or a debounce's that keeps them; otherwise the one."""
        execution = self._execution
        if not execution.events:
            return [self.event]
        decode = execution.function.code.decode_event
        return [ReceivedEvent(event, decode) for event in execution.events]

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._execution.run_id

    @property
    def attempt(self) -> int:
        """How often the body has failed outside of its steps: 0 at first."""
        return self._execution.run.attempt

    @property
    def replay_id(self) -> str | None:
        """The replay that the run belongs to, or None."""
        return self._execution.run.replay_id

    @property
    def logger(self) -> RunLogger:
        """A logger of the function's module; it says nothing again that it said before a re-execution."""
        if self._logger is None:
            self._logger = RunLogger(self._execution)
        return self._logger


class Context(_Context[T]):
    """What an ``async def`` function is handed. ``Context[Model]`` says what the event's data is; without it, a dict.

    Attributes:
        step: what the run does durably.
    """

    __slots__ = ("step",)

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution)
        self.step = Steps(execution)


class SyncContext(_Context[T]):
    """What a ``def`` function is handed: the same as `Context`, with steps that block.

    Attributes:
        step: what the run does durably.
    """

    __slots__ = ("step",)

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution)
        self.step = SyncSteps(execution)
