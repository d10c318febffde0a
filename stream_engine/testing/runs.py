"""Runs as tests look at them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stream_engine.core.failure import Failure
from stream_engine.core.views.runs import FoldedRun, RunStep
from stream_engine.sdk.codec import decode_plain


@dataclass(frozen=True)
class Step:
    """A step of a run: ``result`` is a plain value, ``attempt`` the last one's number, from 0."""

    id: str
    kind: str
    status: str
    attempt: int
    result: Any
    error: Failure | None


@dataclass(frozen=True)
class Run:
    """A run, with the fields of ``runs show --json``: ``result`` is a plain value, ``error`` has type, message, traceback."""

    run_id: str
    function: str
    version: str
    status: str
    event_id: str | None
    event_name: str | None
    key: str | None
    started_at: datetime | None
    ended_at: datetime | None
    attempt: int
    result: Any
    error: Failure | None
    waiting_on: str | None
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, run: FoldedRun) -> "Run":
        """Return what history tells of a run."""
        return cls(
            run.run_id,
            run.function,
            run.version,
            run.status,
            run.event_id,
            run.event_name,
            run.key,
            _time(run.started_at),
            _time(run.ended_at),
            run.attempt,
            _value(run.result),
            run.error,
            run.waiting_on,
            tuple(_step(step) for step in run.ordered_steps()),
        )

    def step(self, id: str) -> Step:
        """Return a step by its id.

        Raises:
            KeyError: the run has none of this id.
        """
        for step in self.steps:
            if step.id == id:
                return step
        raise KeyError(f"run of {self.function!r} has no step {id!r}; it has {[step.id for step in self.steps]}")


def _step(step: RunStep) -> Step:
    last = step.last
    return Step(step.id, step.kind, last.status, last.number, _value(step.result), last.error)


def _value(result: str | None) -> Any:
    return None if result is None else decode_plain(result.encode())


def _time(at: int | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at / 1_000, UTC)
