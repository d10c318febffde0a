"""What runs have recorded, as it is taken over by other runs of the same events: read from history."""

from typing import NamedTuple

from stream_engine.core.history import HistoryRecord, RunStarted, StepRecorded
from stream_engine.core.requests import Reused
from stream_engine.core.reuse import reusable
from stream_engine.shell.history.reader import HistoryReader, about
from stream_engine.shell.settings import Settings

Place = tuple[int, int]
"""The partition and the offset of an event."""


class Recorded(NamedTuple):
    """How a run began, and what its steps came to, in the order of the log."""

    started: RunStarted
    steps: list[StepRecorded]


def of_run(settings: Settings, app: str, run_id: str, partition: int) -> Recorded | None:
    """Return what history has of a run that began, or None."""
    found: dict[str, HistoryRecord] = {}
    with HistoryReader(settings, app) as reader:
        if partition not in reader.partitions():
            return None
        for batch in reader.read(reader.span([partition]), about([run_id])):
            found |= {entry.id: entry.record for entry in batch if getattr(entry.record, "run_id", "") == run_id}
    started = [record for record in found.values() if isinstance(record, RunStarted)]
    steps = [record for record in found.values() if isinstance(record, StepRecorded)]
    return Recorded(started[0], steps) if started else None


def of_events(settings: Settings, app: str, function: str, since: int, until: int) -> dict[Place, tuple[Reused, ...]]:
    """Return the steps that live runs of a function have completed, by their events: of those that began in a time, to its end.

    ``since`` and ``until`` are milliseconds since the epoch. All of it is held in memory.
    """
    places: dict[str, Place] = {}
    steps: dict[str, dict[str, StepRecorded]] = {}
    name = function.encode()
    with HistoryReader(settings, app) as reader:
        span = reader.span(reader.partitions(), since)
        for batch in reader.read(span, lambda _, value: name in value):
            for entry in batch:
                record = entry.record
                if record.function != function or record.at > until:
                    continue
                if isinstance(record, RunStarted) and record.replay_id is None and record.rerun_of is None:
                    places[record.run_id] = record.partition, record.offset
                elif isinstance(record, StepRecorded):
                    steps.setdefault(record.run_id, {}).setdefault(entry.id, record)
    return {place: reusable(steps.get(run_id, {}).values()) for run_id, place in places.items()}
