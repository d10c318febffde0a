"""Steps of an earlier run of the same event, whose results a new run takes over instead of calling their bodies again.

A run that several events have started is about all of them, and so are its steps: they are taken over by a run of the very same events, or not at all.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from stream_engine.core.identity import digest
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.history import StepRecorded
from stream_engine.core.records.requests import Reused
from stream_engine.core.records.tables import STEPS, Step

MOST_BYTES: Final = (1024 + 64) * 1024
"""What a run may take over, two of the largest results for one: it arrives in one record, which has the steps once for the state and once for history."""

_SMALL = 200
"""How many bytes a step takes besides its result."""


class Taken(NamedTuple):
    """What a run takes over: steps, and the `composition` of the run that had them."""

    steps: tuple[Reused, ...]
    of: str


class TakenOver(Protocol):
    """What is taken over, by the partition and offset of an event; of several events of a run, one has it."""

    def get(self, place: tuple[int, int], /) -> Taken | None:
        """Return what the run of an event takes over, or None."""


def composition(places: Iterable[tuple[str, int, int]]) -> str:
    """Return what stands for the events of a run, whose topics, partitions and offsets are given in any order."""
    return digest(*(f"{topic}/{partition}/{offset}" for topic, partition, offset in sorted(places)))


def excess(reused: Iterable[Reused]) -> str | None:
    """Return what is wrong with steps that are more than a run may take over, or None if they are not."""
    size = sum(_SMALL + len(one.result) for one in reused)
    return None if size <= MOST_BYTES else f"the steps to take over have {size:,} bytes, and {MOST_BYTES:,} are allowed"


def take_over(turn: Turn, run_id: str, reused: tuple[Reused, ...]) -> None:
    """Record steps for a run that has not begun, in their order."""
    for order, one in enumerate(reused):
        step = Step(one.kind, "completed", order, one.attempt, one.started_at, one.ended_at, result=one.result)
        turn.state.put(STEPS.key(run_id, one.step_id), step)


def told(turn: Turn, run_id: str, function: str, steps: dict[str, Step]) -> None:
    """Tell history of the steps that a run has when it begins."""
    for step_id, step in sorted(steps.items(), key=lambda item: item[1].order):
        result = None if step.result is None else step.result.decode()
        turn.history.append(
            StepRecorded(
                turn.now, run_id, function, step_id, step.kind, step.status, step.attempt, step.started_at, None, result
            )
        )


def reusable(recorded: Iterable[StepRecorded], before: str | None = None) -> tuple[Reused, ...]:
    """Return the steps that a run completed, in their order; with ``before`` those that it had completed when that step began.

    Raises:
        LookupError: the run has no such step.
    """
    records = list(recorded)
    began = min((one.started_at for one in records if one.step_id == before), default=None)
    if before is not None and began is None:
        raise LookupError(before)
    found: dict[str, Reused] = {}
    for one in records:
        ended = one.status == "completed" and one.result is not None and one.step_id != before
        if ended and (began is None or one.at <= began):
            assert one.result is not None
            found[one.step_id] = Reused(one.step_id, one.kind, one.attempt, one.started_at, one.at, one.result.encode())
    return tuple(found.values())
