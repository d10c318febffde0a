"""What runs have recorded, as it is taken over by other runs of the same events: read from history."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from stream_engine.core.identity import partition_of
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunStarted, StepRecorded
from stream_engine.core.routing.replay import Extent, Replay
from stream_engine.core.views.caused import INTERIM, Place
from stream_engine.core.views.members import run_of
from stream_engine.shell.history.codec import prefix
from stream_engine.shell.history.reader import HistoryReader, Progress, about
from stream_engine.shell.history.steps import Steps
from stream_engine.shell.settings import Settings

_DISPOSED: Final = prefix(EventDisposed)


class Recorded(NamedTuple):
    """How a run began, what its steps came to, in the order of the log, and where the events are that it had besides its own."""

    started: RunStarted
    steps: list[StepRecorded]
    others: set[Place]


def of_runs(
    settings: Settings, app: str, runs: Mapping[str, str], progress: Progress, keeps_all: Callable[[str], bool]
) -> dict[str, Recorded]:
    """Return what history has of runs that began, by their ids; all of it is held in memory.

    ``runs`` has the functions of the runs by their ids, ``keeps_all`` says of a function what `run_of` has to know. ``progress`` is told how far it has read.
    """
    found: dict[str, HistoryRecord] = {}
    # What a debounce has coalesced is told of where that is, under the names of runs that there never were.
    elsewhere = {function for function in runs.values() if keeps_all(function)}
    partitions = {partition_of(run_id) for run_id in runs}
    wanted = about(runs)

    def want(key: bytes, value: bytes) -> bool:
        return wanted(key, value) or (bool(elsewhere) and value.startswith(_DISPOSED))

    with HistoryReader(settings, app) as reader:
        span = reader.span([number for number in reader.partitions() if elsewhere or number in partitions])
        for batch in reader.read(span, want, progress):
            found |= {entry.id: entry.record for entry in batch if _run_of(entry.record, elsewhere) in runs}
    recorded: dict[str, Recorded] = {}
    for record in found.values():
        if isinstance(record, RunStarted):
            recorded.setdefault(record.run_id, Recorded(record, [], set()))
    for record in found.values():
        of = recorded.get(_run_of(record, elsewhere))
        if isinstance(record, StepRecorded) and of is not None:
            of.steps.append(record)
        elif isinstance(record, EventDisposed) and of is not None and record.disposition not in INTERIM:
            of.others.add(Place(record.topic, record.partition, record.offset))
    return recorded


def _run_of(record: HistoryRecord, elsewhere: Collection[str]) -> str:
    return (
        run_of(record, keeps_all=record.function in elsewhere) if isinstance(record, EventDisposed) else record.run_id
    )


@dataclass(frozen=True)
class OfEvents:
    """Reads what replays of an app take over. It is kept in files in a folder; ``keeps_all`` says of a function what `run_of` has to know."""

    settings: Settings
    app: str
    folder: Path
    keeps_all: Callable[[str], bool]

    def __call__(self, replay: Replay, extent: Extent, given_up: Callable[[], bool]) -> Steps:
        """Return the steps that live runs of a replay's events have completed before it was made; not all of them, if that is ``given_up``.

        Raises:
            UserError: history cannot be read, or there is no room for it.
        """

        def wants(started: RunStarted) -> bool:
            return extent.replays(replay.function, started.topic, started.partition, started.offset)

        steps = Steps(self.folder, replay.function, wants, keeps_all=self.keeps_all(replay.function))
        try:
            self._read(replay, steps, given_up)
        except BaseException:
            steps.close()
            raise
        return steps

    def _read(self, replay: Replay, steps: Steps, given_up: Callable[[], bool]) -> None:
        name = replay.function.encode()
        with HistoryReader(self.settings, self.app) as reader:
            for batch in reader.read(reader.span(reader.partitions(), replay.since), lambda _, value: name in value):
                if given_up():
                    return
                steps.take(entry for entry in batch if entry.record.at <= replay.created_at)
