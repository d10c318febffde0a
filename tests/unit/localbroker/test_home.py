"""The broker's folder: its record survives, damage is told, and its lock is exclusive."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stream_engine.shell import localbroker
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker.home import Home, Record
from stream_engine.shell.localbroker.process import ProcessId
from stream_engine.shell.settings import Settings


def test_the_record_comes_back(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.record() is None
    for record in (Record("java", 1, process=ProcessId(7, "then")), Record("docker", 2, container="abc")):
        home.save(record)
        assert home.record() == record


def test_a_damaged_record_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "broker.json").write_text('{"kind": "java"')
    with pytest.raises(UserError, match=r"broker\.json is damaged.*remove that file"):
        Home(tmp_path).record()


def test_the_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    home = Home(tmp_path / "not" / "there" / "yet")
    entered = threading.Event()

    def enter() -> None:
        with Home(home.path).locked():
            entered.set()

    second = threading.Thread(target=enter)
    with home.locked():
        second.start()
        assert not entered.wait(0.2)
    second.join(10)
    assert entered.is_set()


def test_a_folder_that_cannot_be_made_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "broker").touch()
    with pytest.raises(UserError, match="STREAM_ENGINE_STATE_DIR"), Home(tmp_path / "broker").locked():
        pass


def test_where_nothing_was_started_there_is_nothing_to_see_or_stop(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "state")
    assert localbroker.status(settings).source is None
    assert not localbroker.stop(settings)
    assert not settings.state_dir.exists(), "looking leaves no trace"
    with pytest.raises(UserError, match="stream-engine broker start"):
        localbroker.connected(settings)


def test_a_configured_broker_is_taken_as_it_is(tmp_path: Path) -> None:
    settings = Settings(tmp_path, bootstrap_servers="127.0.0.1:1")
    assert localbroker.connected(settings) is settings
    with pytest.raises(UserError, match="was not started here"):
        localbroker.stop(settings)
