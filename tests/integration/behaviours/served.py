"""An app that workers serve, as a test sees it: its topics, and the gates at which its functions wait."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from stream_engine.shell.settings import Settings
from tests.raw import Follower, Record, Told, produce, told, without_repeats
from tests.workers import WorkerProcess, until

GREET: dict[str, Any] = {"type": "record", "name": "greet", "fields": [{"name": "avro", "type": "string"}]}
"""The Avro schema that has the id 7 for the app."""


class Served:
    """What a test sees of an app. Use it in a ``with``."""

    def __init__(self, settings: Settings, name: str, gates: Path) -> None:
        self.name = name
        self.settings = settings
        self.servers = str(settings.bootstrap_servers)
        self._gates = gates
        self._history = Follower(self.servers, f"{self.name}.history")
        self.dead = Follower(self.servers, f"{self.name}.dead-letters")
        self.events = Follower(self.servers, f"{self.name}.events")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for follower in (self._history, self.dead, self.events):
            follower.__exit__(*error)

    def started(self, place: tuple[int, int], function: str | None = None) -> str:
        """Wait until an event has started a run, of the function if several take it; return the run's id."""
        of: dict[str, Any] = {} if function is None else {"function": function}
        [record] = self.told("RunStarted", partition=place[0], offset=place[1], **of)
        run: str = record["run_id"]
        return run

    def result(self, run_id: str) -> Any:
        """Wait until a run has completed; return what history says that it returned."""
        [ended] = self.told("RunEnded", run_id=run_id)
        assert ended["status"] == "completed", ended
        return json.loads(ended["result"])

    def send(self, event: dict[str, Any], **properties: Any) -> tuple[int, int]:
        """Produce an event as any Kafka client does; return its partition and offset."""
        return self.produce(json.dumps(event).encode(), **properties)

    def produce(self, value: bytes | None, **properties: Any) -> tuple[int, int]:
        """Produce a message to the events topic; return its partition and offset."""
        return produce(self.servers, f"{self.name}.events", value, **properties)

    def open(self, gate: str) -> None:
        """Let go on what waits for a gate."""
        (self._gates / gate).touch()

    def reached(self, gate: str) -> None:
        """Wait until something waits for a gate."""
        until((self._gates / f"{gate}.reached").exists, f"somebody comes to the gate {gate}")

    def told(self, schema: str, count: int = 1, **fields: Any) -> list[Told]:
        """Wait until history has told a number of things of a kind; return them."""

        def found() -> list[Told]:
            records = without_repeats([told(record.value) for record in self._history.records])
            return [
                record
                for record in records
                if record["schema"] == schema and all(record[name] == value for name, value in fields.items())
            ]

        self._history.until(lambda _: len(found()) >= count)
        return found()

    def started_again(self, count: int, function: str) -> list[Told]:
        """Wait until so many runs of a function have been started by replays; return what was told of their starts."""

        def found() -> list[Told]:
            records = without_repeats([told(record.value) for record in self._history.records])
            starts = [one for one in records if one["schema"] == "RunStarted" and one["function"] == function]
            return [one for one in starts if one["replay_id"] is not None]

        self._history.until(lambda _: len(found()) >= count)
        return found()

    def listen(self) -> None:
        """Read history up to where it ends now."""
        self._history.to_end()

    def steps(self, run_id: str) -> list[tuple[str, str, int]]:
        """Return what history tells of the steps of a run that has ended: id, status and attempt."""
        self.told("RunEnded", run_id=run_id)
        recorded = self.told("StepRecorded", 0, run_id=run_id)
        return [(record["step_id"], record["status"], record["attempt"]) for record in recorded]

    def buried(self, place: tuple[int, int]) -> Record:
        """Wait for the dead letter of a message."""
        origin = {"partition": str(place[0]), "offset": str(place[1])}

        def found() -> list[Record]:
            return [letter for letter in self.dead.records if origin.items() <= letter.headers.items()]

        self.dead.until(lambda _: found())
        self.dead.to_end()
        [letter] = found()
        return letter


class Here(Served):
    """The same with the app's code in this process too, to start functions by, and the one worker that serves it."""

    def __init__(self, settings: Settings, app: ModuleType, worker: WorkerProcess, gates: Path) -> None:
        super().__init__(settings, app.engine.name, gates)
        self.app: Any = app
        self.worker = worker

    def __exit__(self, *error: object) -> None:
        self.app.engine.client.close()
        super().__exit__(*error)

    def run(self, function: str, data: dict[str, Any] | None = None) -> tuple[str, Any]:
        """Start a function and wait for its result; return the run's id and the result."""
        handle = getattr(self.app, function).start_sync(data or {})
        return handle.run_id, handle.result(timeout="60s")
