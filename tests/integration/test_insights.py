"""Figures from history on a real broker: they equal a naive count, whatever befalls the Faust app that makes them."""

import json
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from stream_engine.cli.figures import with_figures_since
from stream_engine.cli.main import main
from stream_engine.core.failure import Failure
from stream_engine.core.instants import iso
from stream_engine.core.partition.change import Told
from stream_engine.core.records.history import (
    EventDisposed,
    HistoryRecord,
    RunChanged,
    RunEnded,
    RunStarted,
    StepRecorded,
)
from stream_engine.core.records.journal import Mark
from stream_engine.core.views.function_listing import FunctionRow
from stream_engine.core.views.insights import Summary
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.history.codec import encode
from stream_engine.shell.operating.insights import read_insights
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply
from tests import raw
from tests.faust_apps import FaustApp
from tests.workers import Workers, until

_PARTITIONS = 4
# Once its tables are recovered, Faust asks where to go on. Here the answer comes late, and the agent waits for its first one, so that all
# there is may be read meanwhile: a read that is under way lasts for a second.
_LATE = """
import asyncio
import os
import time

from faust.cli.faust import cli
from faust.transport.consumer import Consumer
from stream_engine.shell.edge.insights import Counting

perform_seek, ids_before = Consumer.perform_seek, Counting._ids_before


def is_read(consumer, tp):
    end = consumer.highwater(tp)
    return end is not None and (consumer._read_offset[tp] or 0) >= end - 1


async def late(self):
    await perform_seek(self)
    for _ in range(200):
        if all(is_read(self, tp) for tp in self.assignment() if tp.topic.endswith(".history")):
            break
        await asyncio.sleep(0.01)
    os.write(1, b"late")  # Faust makes log lines of what is printed


def slow(*args):
    Counting._ids_before = ids_before
    time.sleep(2.5)
    return ids_before(*args)


Consumer.perform_seek, Counting._ids_before = late, slow
cli()
"""
# A week passes once there is a file.
_WEEK = """
from pathlib import Path

from faust.cli.faust import cli
from stream_engine.shell.edge import insights

now_ms = insights.now_ms
insights.now_ms = lambda: now_ms() + (7 * 86_400_000 if Path({file!r}).exists() else 0)
insights._SWEEP_SECONDS = 0.5
cli()
"""
_APP = """
from stream_engine import Context, Engine

engine = Engine({name!r})


@engine.function("work", on="work", retries=0)
async def work(ctx: Context) -> None:
    if ctx.event.data["bad"]:
        raise ValueError("bad")
"""

Count = dict[tuple[str, str], tuple[int, ...]]


@pytest.fixture
def settings(broker: Settings, tmp_path: Path) -> Settings:
    """The session's broker, and few partitions."""
    return replace(broker, state_dir=tmp_path / "state", partitions=_PARTITIONS)


class _History:
    """Writes history as leaders do, with what goes wrong there: repeats, also late ones, and bytes of others."""

    def __init__(self, settings: Settings, app: str) -> None:
        self.topic = Names.of(app).history
        self._settings = settings
        self._random = random.Random(7)
        self._number = 0
        apply(clients.admin(settings), Names.of(app), _PARTITIONS)

    def write(self, runs: int, version: str = "1") -> None:
        """Write what happens to some runs."""
        producer = Producer({"bootstrap.servers": str(self._settings.bootstrap_servers)})
        late: list[tuple[int, bytes, bytes]] = []
        for _ in range(runs):
            self._number += 1
            partition = self._number % _PARTITIONS
            told = Told(Mark(self._number, 3, self._number), self._run(version))
            messages = [(partition, key, value) for key, value in encode(told, partition)]
            chance = self._random.random()
            if chance < 0.02:
                # It was not written in its place, and comes behind others.
                late.extend(messages)
                continue
            if chance < 0.06:
                late.extend(messages)
            if chance > 0.99:
                messages.append((partition, b"\xff", self._random.randbytes(40)))
                messages.append((partition, b"", messages[0][2][:15]))
            for at, key, value in messages:
                producer.produce(self.topic, value, key, at)
            producer.poll(0)
            if len(late) > 50:
                for at, key, value in late:
                    producer.produce(self.topic, value, key, at)
                late.clear()
        for at, key, value in late:
            producer.produce(self.topic, value, key, at)
        assert producer.flush(60) == 0

    def tell(self, at: int, version: str, *, completed: int, failed: int, replay_id: str | None = None) -> None:
        """Write of runs of ``work`` that all ended at a time, each after a retry."""
        producer = Producer({"bootstrap.servers": str(self._settings.bootstrap_servers)})
        for status in ["completed"] * completed + ["failed"] * failed:
            self._number += 1
            run, partition = f"run{self._number}", self._number % _PARTITIONS
            event = "work", f"e{self._number}", "t", 0, self._number
            records: list[HistoryRecord] = [
                RunStarted(at, run, "work", version, at, *event, replay_id=replay_id),
                RunChanged(at, run, "work", version, "retrying", 1, at, replay_id=replay_id),
                RunEnded(at, run, "work", version, status, at, 1, replay_id=replay_id),
            ]
            for key, value in encode(Told(Mark(self._number, 3, self._number), records), partition):
                producer.produce(self.topic, value, key, partition)
        assert producer.flush(60) == 0

    def _run(self, version: str) -> list[HistoryRecord]:
        at = now_ms()
        run, function = f"run{self._number}", self._random.choice(["alpha", "beta", "gamma"])
        status = self._random.choice(["completed"] * 8 + ["failed", "cancelled", "timed_out"])
        error = Failure("ValueError", "no") if status == "failed" else None
        took = self._random.randrange(3_000)
        return [
            EventDisposed(at, function, "e", f"e{self._number}", "t", 0, 1, "queued", run),
            RunStarted(at, run, function, version, at - self._random.randrange(50), "e", f"e{self._number}", "t", 0, 1),
            StepRecorded(at, run, function, "s", "run", "completed", 0, at),
            RunChanged(at, run, function, version, "retrying", 0),
            RunChanged(at, run, function, version, "parked", 0),
            RunEnded(at, run, function, version, status, at - took, 0, None, error),
        ]

    def count(self) -> Count:
        """Count it, without any of the engine's code."""
        sums: dict[tuple[str, str], Counter[str]] = {}
        seen = set()
        for record in raw.read(str(self._settings.bootstrap_servers), self.topic):
            if record.value is None or record.value[:2] != b"\xc3\x01" or len(record.value) < 20:
                continue
            told = raw.told(record.value)
            if told["id"] in seen or "version" not in told:
                continue
            seen.add(told["id"])
            sums.setdefault((told["function"], told["version"]), Counter()).update(_facts(told))
        names = ("started", "completed", "failed", "cancelled", "timed_out", "retrying", "delay", "duration")
        return {place: tuple(counts[name] for name in names) for place, counts in sums.items()}


def _facts(told: raw.Told) -> dict[str, int]:
    match told["schema"]:
        case "RunStarted":
            return {"started": 1, "delay": told["at"] - told["created_at"]}
        case "RunEnded":
            return {told["status"]: 1, "duration": told["at"] - told["started_at"]}
        case _:
            return {told["change"]: 1}


def _of(summary: Summary) -> tuple[int, ...]:
    made = summary.figures
    ends = (made.started, made.completed, made.failed, made.cancelled, made.timed_out)
    return (*ends, made.retries, made.delay.total, made.duration.total)


def _figures(settings: Settings, app: str) -> Count:
    return {(s.function, s.version): _of(s) for s in read_insights(settings, app, 0) or []}


def _ended(settings: Settings, app: str) -> dict[tuple[str, bool], int]:
    return {(one.version, one.replayed): one.figures.ended for one in read_insights(settings, app, 0) or []}


def _list(settings: Settings, app: str, *options: str) -> str:
    return _listed(settings, app, *options).stdout


def _listed(settings: Settings, app: str, *options: str) -> Result:
    env = {
        "STREAM_ENGINE_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers),
        "STREAM_ENGINE_STATE_DIR": str(settings.state_dir),
    }
    result = CliRunner().invoke(main, ["functions", "list", "--app", app, *options], env=env, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def _started(settings: Settings, app: str) -> int:
    return sum(counts[0] for counts in _figures(settings, app).values())


def test_figures_equal_a_naive_count_through_kills_repeats_and_others_that_count_too(
    settings: Settings, app_name: str
) -> None:
    history = _History(settings, app_name)
    assert read_insights(settings, app_name, 0) is None
    history.write(1_500)
    with FaustApp("topologies.insights", settings, app_name) as killed:
        until(lambda: _started(settings, app_name) > 0, "something is counted")
        killed.kill()
    assert 0 < _started(settings, app_name) <= 1_500

    history.write(500, version="2")
    truth = history.count()
    with (
        FaustApp("topologies.insights", settings, app_name) as restarted,
        FaustApp("topologies.insights", settings, app_name, folder="other"),
    ):
        until(lambda: _figures(settings, app_name) == truth, f"the figures are {truth}")
        history.write(200, version="2")
        truth = history.count()
        until(lambda: _figures(settings, app_name) == truth, f"the figures are {truth}")
        restarted.kill()
        history.write(200, version="2")
        truth = history.count()
        until(lambda: _figures(settings, app_name) == truth, f"the one that is left makes the figures {truth}")


def test_lost_tables_and_topics_are_made_anew(settings: Settings, app_name: str, capsys: Any) -> None:
    history = _History(settings, app_name)
    history.write(300)
    truth = history.count()
    with FaustApp("topologies.insights", settings, app_name) as first:
        until(lambda: _figures(settings, app_name) == truth, f"the figures are {truth}")
        first.stop()
    history.write(300, version="2")
    function = FunctionRow("alpha", "1", [], {}, paused=False, running=0, queued=0)
    assert with_figures_since(settings, app_name, [function], 0) == [function]
    assert "nobody counts" in capsys.readouterr().err

    shutil.rmtree(first.folder)
    truth = history.count()
    with FaustApp("topologies.insights", settings, app_name, code=_LATE) as second:
        until(lambda: _figures(settings, app_name) == truth, "they go on from a table that was made anew")
        [shown] = with_figures_since(settings, app_name, [function], 0)
        assert [figures.version for figures in shown.figures or []] == ["1", "2"]
        assert "late" in second.stop()

    admin = AdminClient({"bootstrap.servers": str(settings.bootstrap_servers)})
    admin.delete_topics([Names.of(app_name).insights])[Names.of(app_name).insights].result(30)
    until(lambda: read_insights(settings, app_name, 0) is None, "the topic is gone")
    later = settings.state_dir / "later"
    with FaustApp("topologies.insights", settings, app_name, code=_WEEK.format(file=str(later))) as third:
        until(lambda: _figures(settings, app_name) == truth, f"the figures are {truth} again")
        later.touch()
        until(lambda: not _figures(settings, app_name), "what is old is deleted")
        third.stop()


def test_a_bug_of_two_hours_ago_is_seen_beside_the_version_before_it_and_replays_apart(
    settings: Settings, app_name: str, tmp_path: Path
) -> None:
    """What versions did is told of as it was two hours ago; what a worker makes of one is beside it."""
    history = _History(settings, app_name)
    at = now_ms() - 7_200_000
    history.tell(at - 60_000, "1", completed=40, failed=1)
    history.tell(at, "2", completed=20, failed=20)
    history.tell(at + 3_600_000, "2", completed=5, failed=5, replay_id="r1")
    file = tmp_path / "work.py"
    file.write_text(_APP.format(name=app_name))
    with Workers(f"{file}:engine", settings) as workers:
        workers.start("--topology", "insights").ready()
        ended = {("1", False): 41, ("2", False): 40, ("2", True): 10}
        until(lambda: _ended(settings, app_name) == ended, "all is counted")
        shown = {
            (one["version"], one["replayed"]): (one["completed"], one["failed"], one["retries"], one["fails_more"])
            for one in json.loads(_list(settings, app_name, "--json"))[0]["figures"]
        }
        assert shown == {
            ("1", False): (40, 1, 41, False),
            ("2", False): (20, 20, 40, True),
            ("2", True): (5, 5, 10, False),
        }
        told = _listed(settings, app_name)
        assert "work: version 2 fails more often than version 1 before it" in told.stderr
        rows = [line.split()[1:3] for line in told.stdout.splitlines() if line.startswith("work ")]
        assert rows[1:] == [["1", "live"], ["2", "live"], ["2", "replayed"]]
        late = json.loads(_list(settings, app_name, "--since", "90m", "--json"))[0]["figures"]
        assert [(one["version"], one["replayed"], one["since"]) for one in late] == [
            ("2", True, iso((at + 3_600_000) // 60_000 * 60_000))
        ]


def test_a_worker_runs_it_and_shows_that_a_deploy_fails(settings: Settings, app_name: str, tmp_path: Path) -> None:
    file = tmp_path / "work.py"
    file.write_text(_APP.format(name=app_name))
    with Workers(f"{file}:engine", settings) as workers:
        worker = workers.start("--topology", "insights")
        worker.ready()
        for number in range(20):
            value = b'{"name": "work", "data": {"bad": %s}}' % (b"true" if number % 4 == 0 else b"false")
            raw.produce(str(settings.bootstrap_servers), Names.of(app_name).events, value)
        until(lambda: [s.figures.ended for s in read_insights(settings, app_name, 0) or []] == [20], "all are counted")
        [summary] = read_insights(settings, app_name, 0) or []
        assert (summary.figures.completed, summary.figures.failed) == (15, 5)
        listed = json.loads(_list(settings, app_name, "--json"))
        assert [(f["id"], f["figures"][0]["failed"]) for f in listed] == [("work", 5)]
        assert "FIGURES" in _list(settings, app_name)
        assert worker.stop() == 0
    assert "topology" not in worker.talk, worker.talk
