"""``stream-engine doctor`` on a real broker: healthy, with topics missing, and without a broker."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from stream_engine.cli.main import main
from stream_engine.core.waits.interests import interest_of, request_key
from stream_engine.shell import clients, localbroker
from stream_engine.shell.clock import now_ms
from stream_engine.shell.operating import cancelling
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply
from tests.raw import produce
from tests.workers import WorkerProcess, until

SHOP = Path(__file__).resolve().parents[2] / "topologies" / "shop.py"


def doctor(settings: Settings, *arguments: str, **env: str) -> Result:
    own = {
        "STREAM_ENGINE_BOOTSTRAP_SERVERS": settings.bootstrap_servers or "",
        "STREAM_ENGINE_STATE_DIR": str(settings.state_dir),
    }
    return CliRunner().invoke(main, ["doctor", *arguments], env=own | env)


def findings(result: Result) -> list[tuple[str, str, str]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
    return [(each["level"], each["about"], each["what"]) for each in found]


def test_a_healthy_app(settings: Settings, app_name: str, tmp_path: Path) -> None:
    code = tmp_path / "app.py"
    code.write_text(SHOP.read_text("utf-8").replace('Engine("shop"', f'Engine("{app_name}"'), "utf-8")
    worker = WorkerProcess(f"{code}:engine", settings)
    try:
        worker.ready()
        result = doctor(settings, "--app", app_name, "--json")
        shown = doctor(settings, "--app", f"{code}:engine")
    finally:
        worker.kill()
    assert result.exit_code == shown.exit_code == 0, result.output
    found = findings(result)
    assert [about for level, about, _ in found if level == "warning"] == ["broker"], "replication, on a single broker"
    said = [what for level, _, what in found if level == "ok"]
    assert any("7 topics are there and as they must be" in what for what in said)
    assert any("1 worker serves it, 0 records lie before it; functions: process-order, remind" in what for what in said)
    assert any("clock and this machine's agree" in what for what in said)
    assert "-> fine for development" in shown.stdout
    assert shown.stdout.count("\n") > len(found)


def test_missing_and_wrong_topics(settings: Settings, app_name: str) -> None:
    admin, names = clients.admin(settings), Names.of(app_name)
    apply(admin, names, 2)
    admin.delete_topics([names.history])[names.history].result()
    kept = ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    for future in admin.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, names.journal, incremental_configs=[kept])]
    ).values():
        future.result()
    # A broker may answer for a moment by what was before.
    until(lambda: len(_wrong(settings, app_name)) == 2, "both are found")
    result = doctor(settings, "--app", app_name, "--json")
    assert result.exit_code == 1
    wrong = _wrong(settings, app_name)
    assert wrong.keys() == {f"topic {names.history}", f"topic {names.journal}"}
    assert wrong[f"topic {names.history}"] == "missing"
    assert "records expire" in wrong[f"topic {names.journal}"]
    assert "2 errors" in result.stderr
    assert any(what == "no worker has ever served it" for _, _, what in findings(result))


def _wrong(settings: Settings, app: str) -> dict[str, str]:
    found = findings(doctor(settings, "--app", app, "--json"))
    return {about: what for level, about, what in found if level == "error"}


@pytest.mark.broker
def test_all_apps_are_looked_at(tmp_path: Path) -> None:
    """On a broker of its own: the apps of all other tests are on the shared one."""
    own = Settings(state_dir=tmp_path)
    localbroker.start(own, port=0)
    try:
        there = localbroker.connected(own)
        admin = clients.admin(there)
        apply(admin, Names.of("bakery"), 1)
        apply(admin, Names.of("shop"), 1)
        admin.delete_topics(["bakery.history"])["bakery.history"].result()
        assert ("error", "topic bakery.history", "missing") in findings(doctor(there, "--json"))
    finally:
        localbroker.stop(own)


def test_an_app_that_is_not_there_is_said_to_be_so_with_those_that_are(settings: Settings, app_name: str) -> None:
    apply(clients.admin(settings), Names.of(app_name), 1)
    result = doctor(settings, "--app", f"{app_name}x", "--json")
    assert result.exit_code == 1
    [what] = [what for level, about, what in findings(result) if (level, about) == ("error", f"{app_name}x")]
    there, _, others = what.partition("; it has ")
    assert there == "there is no app of this name at this broker"
    assert app_name in others.split(", ")


def test_events_that_were_deleted_before_they_were_routed(settings: Settings, app_name: str) -> None:
    admin, names = clients.admin(settings), Names.of(app_name)
    apply(admin, names, 1)
    for _ in range(3):
        produce(str(settings.bootstrap_servers), names.events, b'{"name":"x"}')
    behind = TopicPartition(names.events, 0, 1)
    member = clients.member(settings, names.router_group)
    member.commit(offsets=[behind], asynchronous=False)
    member.close()
    for future in admin.delete_records([TopicPartition(names.events, 0, 3)]).values():
        future.result()
    result = doctor(settings, "--app", app_name, "--json")
    assert ("error", f"group {names.router_group}", "2 events were deleted before they were routed") in findings(result)


def test_a_worker_that_does_nothing_any_more_and_a_function_that_is_paused(
    settings: Settings, app_name: str, tmp_path: Path
) -> None:
    code = tmp_path / "app.py"
    code.write_text(SHOP.read_text("utf-8").replace('Engine("shop"', f'Engine("{app_name}"'), "utf-8")
    worker = WorkerProcess(f"{code}:engine", settings, {"STREAM_ENGINE_KAFKA__SESSION_TIMEOUT_MS": "300000"})
    env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers), "STREAM_ENGINE_APP": app_name}
    env["STREAM_ENGINE_STATE_DIR"] = str(settings.state_dir)
    try:
        worker.ready()
        assert CliRunner().invoke(main, ["functions", "pause", "remind"], env=env).exit_code == 0
        worker.pause()
        cancelling.send(settings, app_name, [f"{'a' * 24}-1"], "so that there is something to decide")
        request = {"name": "order/paid", "path": "data.id", "since": 0, "keep": 60_000, "at": now_ms() - 31_000}
        key = request_key(interest_of("order/paid", "data.id"), 0).encode()
        produce(settings.bootstrap_servers or "", Names.of(app_name).control, json.dumps(request).encode(), key=key)

        def stuck() -> bool:
            found = findings(doctor(settings, "--app", app_name, "--json"))
            return any(level == "error" and "partition 1 is stuck: 1 records" in what for level, _, what in found)

        until(stuck, "it is found that nothing is decided", 120)
        result = doctor(settings, "--app", app_name, "--json")
        assert result.exit_code == 1
        warned = [what for level, _, what in findings(result) if level == "warning"]
        assert any("remind is paused since" in what for what in warned)
        unread = next(what for what in warned if what.startswith(f"{app_name}.events/0 has not been read again since"))
        assert "for runs that wait for order/paid" in unread
        worker.resume()
        until(lambda: doctor(settings, "--app", app_name).exit_code == 0, "what was waiting is decided upon")
    finally:
        worker.resume()
        worker.kill()


@pytest.mark.parametrize("address", ["127.0.0.1:1", ""])
def test_without_a_broker(tmp_path: Path, address: str) -> None:
    began = time.monotonic()
    result = doctor(Settings(state_dir=tmp_path / "state", bootstrap_servers=address))
    assert time.monotonic() - began < 10
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
    assert "error    broker" in result.stdout
    assert "1 error" in result.stderr


def test_secrets_are_masked_and_the_state_directory_is_tried(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(state_dir=Path("/proc/no-such-folder"))
    result = doctor(settings, "--json", STREAM_ENGINE_KAFKA__SASL_PASSWORD="hunter2")
    assert "hunter2" not in result.output
    assert json.loads(result.stdout)["settings"]["STREAM_ENGINE_KAFKA__SASL_PASSWORD"] == "***"
    assert any((level, about) == ("error", "state directory") for level, about, _ in findings(result))
