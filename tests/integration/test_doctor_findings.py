"""What `doctor` is for: each thing that durability needs, taken away on a real broker, is found, and it says what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from stream_engine.cli.main import main
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.operating import doctor as examining
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply
from tests.cluster import Cluster
from tests.raw import produce
from tests.workers import WorkerProcess, until

_APP = """
from stream_engine import Context, Engine

engine = Engine({name!r})
engine.source("{name}-orders", name="order/placed", format="json")


@engine.function("remind", on="order/placed")
async def remind(ctx: Context) -> None:
    await ctx.step.sleep("long", "30d")
"""


class Found(NamedTuple):
    """A finding that is not well."""

    level: str
    about: str
    what: str
    to_do: str


def found(settings: Settings, app: str) -> list[Found]:
    """Return what `doctor` finds wrong."""
    env = {
        "STREAM_ENGINE_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers),
        "STREAM_ENGINE_STATE_DIR": str(settings.state_dir),
    }
    done = CliRunner().invoke(main, ["doctor", "--app", app, "--json"], env=env)
    findings = [one for one in json.loads(done.stdout)["findings"] if one["level"] != "ok"]
    assert done.exit_code == int(any(one["level"] == "error" for one in findings))
    return [Found(**one) for one in findings]


def _set(settings: Settings, topic: str, **config: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    # The client is kept in a variable: one that is let go of ends what it was asked for.
    admin = AdminClient({"bootstrap.servers": str(settings.bootstrap_servers)})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


@pytest.mark.broker
def test_what_three_brokers_are_to_keep_safe(tmp_path: Path) -> None:
    with Cluster(tmp_path / "brokers") as cluster:
        settings, names = cluster.settings(tmp_path), Names.of("shop")
        admin = clients.admin(settings)
        alone = NewTopic(names.history, 1, 1, config={"cleanup.policy": "delete", "retention.ms": "604800000"})
        admin.create_topics([alone])[names.history].result(30)
        apply(admin, names, 1)
        _set(settings, names.journal, min_insync_replicas="1")
        _set(settings, names.commands, unclean_leader_election_enable="true")
        _set(settings, names.state, min_insync_replicas="4")
        told = found(settings, "shop")
    errors = {
        (one.about.removeprefix("topic shop."), one.what.partition(":")[0], one.to_do)
        for one in told
        if one.level == "error"
    }
    assert errors == {
        ("history", "1 replicas on 3 brokers", "add replicas, up to 3, with kafka-reassign-partitions"),
        ("history", "min.insync.replicas is 2, but there are 1 replicas", "set it to 1, or add replicas"),
        ("journal", "min.insync.replicas is 1", "set it to 2 on the topic"),
        ("commands", "unclean.leader.election.enable is true", "set it to false on the topic"),
        ("state", "min.insync.replicas is 4, but there are 3 replicas", "set it to 2, or add replicas"),
    }


def test_internal_topics_that_refuse_large_records(settings: Settings, app_name: str) -> None:
    names = Names.of(app_name)
    apply(clients.admin(settings), names, 1)
    for topic in (names.events, names.history):
        _set(settings, topic, max_message_bytes="1048588", retention_ms="600000000")
    told = [one for one in found(settings, app_name) if "max.message.bytes" in one.what]
    assert [(one.level, one.about, one.to_do) for one in told] == [
        ("error", f"topic {names.history}", "set it to 4259840 on the topic")
    ]
    env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers)}
    listed = CliRunner().invoke(main, ["topics", "list", app_name], env=env)
    assert listed.exit_code == 1
    assert [line.split("kept ")[1] for line in listed.stdout.splitlines() if "6.9" in line] == ["6.9 days", "6.9 days"]
    assert f"{names.history}: {told[0].what}; {told[0].to_do}\n" in listed.stderr


def test_what_an_app_waits_for_and_is_stamped_by(settings: Settings, app_name: str, tmp_path: Path) -> None:
    servers, names = str(settings.bootstrap_servers), Names.of(app_name)
    orders = f"{app_name}-orders"
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(orders, 1, 1)])[orders].result(30)
    code = tmp_path / "app.py"
    code.write_text(_APP.format(name=app_name), "utf-8")
    worker = WorkerProcess(f"{code}:engine", settings, {"STREAM_ENGINE_KAFKA__SESSION_TIMEOUT_MS": "300000"})
    try:
        worker.ready()
        produce(servers, orders, b'{"id": 1}')
        _finds(settings, app_name, "warning", f"topic {names.history}", "of remind waits until", "more than 30 days")
        _finds(
            settings, app_name, "warning", f"source {orders}", "message.timestamp.type is CreateTime", "LogAppendTime"
        )
        _set(settings, names.events, message_timestamp_type="CreateTime", unclean_leader_election_enable="true")
        _finds(settings, app_name, "warning", f"topic {names.events}", "is CreateTime", "set it to LogAppendTime")
        _finds(settings, app_name, "warning", f"topic {names.events}", "unclean.leader.election", "set it to false")
        worker.pause()
        _long_ago(servers, names.events, now_ms() - 180_000)
        _finds(settings, app_name, "warning", f"group {names.router_group}", "has waited for 3 minutes", "add workers")
        _set(settings, names.events, retention_ms="300000")
        _finds(
            settings, app_name, "error", f"group {names.router_group}", "is deleted after 5 minutes", "start workers"
        )
    finally:
        worker.resume()
        worker.kill()


def _finds(settings: Settings, app: str, level: str, about: str, *words: str) -> None:
    """Wait until there is such a finding, with such words in what it says and in what it says to do."""
    what, to_do = words

    def there() -> list[Found]:
        told = found(settings, app)
        return [one for one in told if one[:2] == (level, about) and what in one.what and to_do in one.to_do]

    until(there, f"doctor finds of {about} that {what}")


def _long_ago(servers: str, topic: str, at: int) -> None:
    """Write an event that has been there since a time, in the first partition."""
    producer = Producer({"bootstrap.servers": servers})
    producer.produce(topic, b'{"name": "x", "data": {}}', partition=0, timestamp=at)
    assert producer.flush(60) == 0


@pytest.mark.parametrize("clock", [(5_000, "warning", "behind"), (-90_000, "error", "ahead of")])
def test_clocks_that_differ(
    settings: Settings, app_name: str, monkeypatch: pytest.MonkeyPatch, clock: tuple[int, str, str]
) -> None:
    """This machine's clock goes wrong, and the broker's does not."""
    apply(clients.admin(settings), Names.of(app_name), 1)
    ahead, level, side = clock
    monkeypatch.setattr(examining, "now_ms", lambda: now_ms() + ahead)
    [told] = [one for one in found(settings, app_name) if one.about == "clock"]
    assert (told.level, side in told.what, "NTP" in told.to_do) == (level, True, True)


def test_a_disk_that_is_nearly_full(settings: Settings, app_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(clients.admin(settings), Names.of(app_name), 1)

    def usage(path: Any) -> Any:
        total, used, _ = disk_usage(path)
        return type(disk_usage(path))(total, used, 100 * 1024**2)

    disk_usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", usage)
    [disk] = [one for one in found(settings, app_name) if one.about == "state directory"]
    assert (disk.level, "0.1 GiB are free" in disk.what, "make room" in disk.to_do) == ("error", True, True)
