"""What runs have recorded, as it is taken over by other runs of the same events: read from history."""

from collections.abc import Collection
from typing import NamedTuple

from stream_engine.core.history import HistoryRecord, RunStarted, StepRecorded
from stream_engine.core.identity import partition_of
from stream_engine.core.replay import Replay
from stream_engine.core.requests import Reused
from stream_engine.core.reuse import reusable
from stream_engine.shell.history.reader import HistoryReader, Progress, about
from stream_engine.shell.settings import Settings

Place = tuple[int, int]
"""The partition and the offset of an event."""


class Recorded(NamedTuple):
    """How a run began, and what its steps came to, in the order of the log."""

    started: RunStarted
    steps: list[StepRecorded]


def of_runs(settings: Settings, app: str, run_ids: Collection[str], progress: Progress) -> dict[str, Recorded]:
    """Return what history has of runs that began, by their ids; all of it is held in memory. ``progress`` is told how far it has read."""
    found: dict[str, HistoryRecord] = {}
    partitions = {partition_of(run_id) for run_id in run_ids}
    with HistoryReader(settings, app) as reader:
        span = reader.span([number for number in reader.partitions() if number in partitions])
        for batch in reader.read(span, about(run_ids), progress):
            found |= {entry.id: entry.record for entry in batch if getattr(entry.record, "run_id", "") in run_ids}
    recorded: dict[str, Recorded] = {}
    for record in found.values():
        if isinstance(record, RunStarted):
            recorded.setdefault(record.run_id, Recorded(record, []))
    for record in found.values():
        if isinstance(record, StepRecorded) and record.run_id in recorded:
            recorded[record.run_id].steps.append(record)
    return recorded


def of_events(settings: Settings, app: str, replay: Replay) -> dict[Place, tuple[Reused, ...]]:
    """Return the steps that live runs of a replay's function have completed, by their events: of those that began before it was made.

    All of it is held in memory.
    """
    function, since, until = replay.function, replay.since, replay.created_at
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
                if isinstance(record, RunStarted):
                    if record.topic == replay.topic and record.replay_id is None and record.rerun_of is None:
                        places[record.run_id] = record.partition, record.offset
                elif isinstance(record, StepRecorded):
                    steps.setdefault(record.run_id, {}).setdefault(entry.id, record)
    return {place: reusable(steps.get(run_id, {}).values()) for run_id, place in places.items()}
