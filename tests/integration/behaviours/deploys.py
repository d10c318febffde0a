"""An app that is deployed again and again on a real broker, as a test sees it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from stream_engine.shell import clients
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply, partition_counts
from tests.integration.behaviours.served import Served
from tests.raw import forget
from tests.workers import WorkerProcess, Workers, until

PARTITIONS = 4
_HERE = Path(__file__).parent


class Deploys:
    """An app whose worker is stopped and started again, with other code or another disk. Use it in a ``with``."""

    def __init__(self, settings: Settings, folder: Path, file: str) -> None:
        self.folder = folder
        self.settings = replace(settings, state_dir=folder / "state", partitions=PARTITIONS)
        self.name = f"restarts-{uuid4().hex[:8]}"
        env = {"BEHAVIOURS_APP": self.name, "BEHAVIOURS_GATES": str(folder)}
        self.workers = Workers(f"{_HERE / file}:engine", self.settings, env)
        apply(clients.admin(self.settings), Names.of(self.name), PARTITIONS)
        self.served = Served(self.settings, self.name, folder)
        self.worker: WorkerProcess | None = None

    def __enter__(self) -> Self:
        self.workers.__enter__()
        self.served.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.served.__exit__(*error)
        self.workers.__exit__(*error)
        forget(self.served.servers, self.name)

    @property
    def stores(self) -> list[Path]:
        """The folders of the partitions' stores."""
        return sorted((self.settings.state_dir / self.name).glob("worker-*/[0-9]*"))

    def stop(self) -> None:
        """Stop the worker, and have none."""
        assert self.worker is not None
        assert self.worker.stop() == 0, self.worker.talk
        self.worker = None

    def greet(self) -> None:
        """Have a run begin and end, on whatever partition."""
        self.served.result(self.served.started(self.served.send({"name": "greet", "data": {"n": 1}})))

    def create_again(self, *topics: str) -> None:
        """Delete topics of the app, named by what comes behind its name, and create new ones as the engine does."""
        admin, names = clients.admin(self.settings), [f"{self.name}.{topic}" for topic in topics]
        for future in admin.delete_topics(names).values():
            future.result(30)
        until(lambda: not set(names) & partition_counts(admin).keys(), "the topics are gone")
        apply(admin, Names.of(self.name), PARTITIONS)
        self.served.__exit__()
        self.served = Served(self.settings, self.name, self.folder).__enter__()

    def deploy(self, *options: str, **env: str) -> WorkerProcess:
        """Stop the worker, if there is one, in the middle of whatever it does; start another."""
        if self.worker is not None:
            assert self.worker.stop() == 0, self.worker.talk
        self.worker = self.workers.start("--drain-timeout", "100ms", *options, **env)
        self.worker.ready()
        return self.worker

    def begin(self, event: str, gate: str, **more: Any) -> str:
        """Start a run that waits at a gate; return its id."""
        place = self.served.send({"name": event, "data": {"gate": gate}, **more})
        self.served.reached(gate)
        return self.served.started(place)
