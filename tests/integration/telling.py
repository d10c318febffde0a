"""The history topic of an app, and what leaders tell there, without any."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from click.testing import CliRunner, Result
from confluent_kafka import TopicPartition

from stream_engine.cli.main import main
from stream_engine.core.failure import Failure
from stream_engine.core.partition.change import Told
from stream_engine.core.records.history import (
    HistoryRecord,
    RunEnded,
    RunStarted,
    StepRecorded,
)
from stream_engine.core.records.journal import Mark
from stream_engine.shell import clients
from stream_engine.shell.history.codec import encode
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply

PARTITIONS = 3


class History:
    """The history topic of an app, and what its leaders tell there."""

    def __init__(self, settings: Settings, app: str) -> None:
        self.settings = settings
        self.app = app
        self.topic = Names.of(app).history
        apply(clients.admin(settings), Names.of(app), PARTITIONS)
        self.state_dir = settings.state_dir
        self._producer = clients.producer(settings)

    def tell(self, partition: int, n: int, records: Sequence[HistoryRecord]) -> None:
        """Write what one journal record of a partition tells."""
        for key, value in encode(Told(Mark(n, 1, n), list(records)), partition):
            self._producer.produce(self.topic, value, key, partition)
        assert self._producer.flush(30) == 0

    def tell_runs(self, numbers: Iterable[int], now: int) -> None:
        """Write what is told of some runs that complete."""
        for number in numbers:
            self.tell(number % PARTITIONS, number, told_of(number, now))

    def expire(self, starts: Mapping[int, int]) -> None:
        """Have the records of some partitions gone that lie before an offset, as retention has."""
        admin = clients.admin(self.settings)
        cut = [TopicPartition(self.topic, partition, offset) for partition, offset in starts.items()]
        for future in admin.delete_records(cut).values():
            future.result(30)

    def command(self, *arguments: str) -> Result:
        """Run ``stream-engine runs`` about this app."""
        servers = str(self.settings.bootstrap_servers)
        env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": servers, "STREAM_ENGINE_APP": self.app}
        env["STREAM_ENGINE_STATE_DIR"] = str(self.state_dir)
        return CliRunner().invoke(main, ["runs", *arguments], env=env)

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        """Return what ``runs list --json`` prints."""
        result = self.command("list", "--json", *arguments)
        assert result.exit_code == 0, result.output
        found: list[dict[str, Any]] = json.loads(result.stdout)
        return found


def run_id(number: int) -> str:
    """Return the id of the run of a number."""
    return f"{'a' * 22}{number:02}-{number % PARTITIONS}"


def told_of(number: int, now: int, status: str | None = "completed") -> list[HistoryRecord]:
    """Return what is told of the run of a number, created at a time: two attempts of a step, and how it ends, if it does."""
    run, failure = run_id(number), Failure("GatewayError", "503", "Traceback ...")
    event = ("order/placed", f"order-{number}", "shop.events", 0, number)
    records: list[HistoryRecord] = [
        RunStarted(now, run, "process-order", "1", now, *event, "customer"),
        StepRecorded(now + 20, run, "process-order", "charge", "run", "retrying", 0, now + 5, now + 40, None, failure),
        StepRecorded(now + 50, run, "process-order", "charge", "run", "completed", 1, now + 41, None, '{"id":7}'),
    ]
    if status is not None:
        records.append(RunEnded(now + 60, run, "process-order", "1", status, now, 0, '"done"'))
    return records
