"""What happens in an app, a line for each thing that a developer wants to see at once: ends of runs, and failed attempts."""

import threading
from collections.abc import Iterable, Iterator
from typing import Final

from stream_engine.cli.output import say
from stream_engine.cli.timeline import duration
from stream_engine.core.instants import iso
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunChanged, RunEnded, StepRecorded
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Entry
from stream_engine.shell.history.reader import HistoryReader, everything
from stream_engine.shell.settings import Settings

_FOREVER_SECONDS: Final = 10 * 365 * 86_400.0
_LINES: Final = 20


class Activity(threading.Thread):
    """Tells on stderr what happens in an app, from when it is started until it is stopped."""

    def __init__(self, settings: Settings, app: str) -> None:
        super().__init__(name="activity", daemon=True)
        self._settings = settings
        self._app = app
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Tell, until told to stop."""
        try:
            with HistoryReader(self._settings, self._app) as reader:
                start = reader.span(reader.partitions()).end
                for batch in reader.follow(start, everything, _FOREVER_SECONDS):
                    for line in lines(batch):
                        say(line)
                    if self._stopping.is_set():
                        return
        except UserError as error:
            say(f"what happens is not shown any more: {error}")


def lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Give the lines that tell of what was read at once; of too much, the first ones and how many more there are."""
    told = [line for entry in entries if (line := _line(entry.record)) is not None]
    yield from told[:_LINES]
    if len(told) > _LINES:
        yield f"          ... and {len(told) - _LINES} more; `stream-engine runs list` has them all"


def _line(record: HistoryRecord) -> str | None:
    match record:
        case RunEnded():
            took = duration(max(record.at - (record.started_at or record.at), 0))
            why = "" if record.error is None else f": {record.error.type}: {record.error.message}".partition("\n")[0]
            return _told(record.at, record.function, f"{record.status} after {took}{why}", record.run_id)
        case StepRecorded(status="retrying" | "failed", error=error) if error is not None:
            failed = f"{record.step_id} {record.status}: {error.type}: {error.message}".partition("\n")[0]
            return _told(record.at, record.function, failed, record.run_id)
        case RunChanged(change="retrying" | "parked" | "moved"):
            return _told(record.at, record.function, record.change, record.run_id)
        case EventDisposed(disposition=disposition) if disposition not in {"delayed", "queued"}:
            return _told(record.at, record.function, f"{disposition} {record.event_id}", record.run_id)
        case _:
            return None


def _told(at: int, function: str, what: str, run_id: str) -> str:
    return f"{iso(at)[11:19]}  {function}  {what}  {run_id}".rstrip()
