"""The run index on a real broker: it has what history has, and is built anew when that is in doubt."""

from __future__ import annotations

import fcntl
import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import fastavro
import pytest
from msgspec.structs import asdict

from stream_engine.core.records.history import (
    RunEnded,
)
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.control import write
from stream_engine.shell.history import schemas
from stream_engine.shell.history.schemas import PUBLISHED
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply
from tests.integration.telling import PARTITIONS, History, run_id, told_of
from tests.workers import until


@pytest.fixture
def history(settings: Settings, app_name: str) -> History:
    return History(settings, app_name)


def test_an_index_takes_up_what_has_come_since(history: History) -> None:
    now = now_ms()
    for number in range(3):
        history.tell(number % PARTITIONS, number, told_of(number, now + number, None))
    assert {run["status"] for run in history.listed()} == {"running"}
    for number in range(3):
        history.tell(number % PARTITIONS, 10 + number, told_of(number, now + number)[3:])
    assert {run["status"] for run in history.listed()} == {"completed"}
    assert history.listed("--status", "running") == []
    assert [run["run_id"] for run in history.listed("--status", "completed", "--limit", "1")] == [run_id(2)]


def test_what_is_told_late_is_put_where_it_belongs(history: History) -> None:
    now = now_ms()
    told = told_of(1, now)
    history.tell(1, 4, told[3:])
    assert history.listed() == []
    history.tell(1, 1, told[:3])
    [run] = history.listed()
    assert (run["status"], run["result"], len(run["steps"])) == ("completed", "done", 1)


def test_an_index_of_other_logs_or_with_damage_is_built_anew(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    now = now_ms()
    history.tell_runs(range(3), now)
    listed = history.listed()
    folder = history.state_dir / history.app / "index" / "runs"
    for path in folder.glob("*.sst"):
        path.write_bytes(b"\0" * path.stat().st_size)
    assert history.listed() == listed
    assert f"{folder} is damaged" in caplog.text
    caplog.clear()
    admin = clients.admin(history.settings)
    for future in admin.delete_topics([history.topic]).values():
        future.result()
    # A broker says that a topic is deleted before it has let go of it.
    until(lambda: history.topic not in admin.list_topics(timeout=10).topics, "the topic to be gone")
    apply(admin, Names.of(history.app), PARTITIONS)
    history.tell_runs(range(4, 6), now)
    assert [run["run_id"] for run in history.listed()] == [run_id(5), run_id(4)]
    assert "is built anew: the history is another topic than before" in caplog.text
    caplog.clear()
    assert len(history.listed()) == 2
    assert not caplog.records


def test_runs_leave_the_index_when_their_history_has_expired(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    now = now_ms()
    history.tell_runs(range(6), now)
    assert len(history.listed()) == 6
    history.expire(dict.fromkeys(range(PARTITIONS), 4))
    assert [run["run_id"] for run in history.listed()] == [run_id(5), run_id(4), run_id(3)]
    assert history.command("show", run_id(0)).exit_code == 1
    assert not caplog.records
    history.tell_runs(range(6, 9), now)
    history.expire({0: 10})
    assert len(history.listed()) == 4
    assert "some of the history has expired before it was read" in caplog.text


def test_two_who_ask_take_turns(history: History, caplog: pytest.LogCaptureFixture) -> None:
    history.tell_runs(range(6), now_ms())
    folder = history.state_dir / history.app / "index"
    folder.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool, (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = pool.submit(history.listed)
        until(lambda: "another process has the run index" in caplog.text, "the second one to wait")
        assert not waiting.done()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert len(waiting.result()) == 6


def test_a_state_folder_that_cannot_be_written_is_named(history: History) -> None:
    history.state_dir.mkdir(parents=True)
    (history.state_dir / history.app).write_text("in the way")
    result = history.command("list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot keep a run index in" in result.stderr
    assert "STREAM_ENGINE_STATE_DIR" in result.stderr


def test_records_that_only_a_newer_engine_can_read_are_read_once_it_is_there(
    history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    newer = json.loads(schemas.load()[RunEnded].text)
    newer["fields"].append({"name": "note", "type": "string", "default": ""})
    now = now_ms()
    history.tell(1, 1, told_of(1, now, None))
    ended = RunEnded(now, run_id(1), "process-order", "1", "completed", 0, 0)
    body = BytesIO()
    fastavro.schemaless_writer(body, schemas.parse(newer), {"id": "1.1.5.0", **asdict(ended), "note": "new"})
    fingerprint = schemas.fingerprint_of(newer)
    producer = clients.producer(history.settings)
    producer.produce(history.topic, b"\xc3\x01" + fingerprint + body.getvalue(), ended.run_id, 1)
    assert producer.flush(30) == 0
    assert [run["status"] for run in history.listed()] == ["running"]
    write(producer, Names.of(history.app).control, {PUBLISHED + fingerprint.hex(): json.dumps(newer).encode()})
    monkeypatch.setattr("stream_engine.shell.history.index.engine_version", lambda: "99.0")
    assert [run["status"] for run in history.listed()] == ["completed"]
    assert "could not read all of the history" in caplog.text
