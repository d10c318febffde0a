"""``stream-engine broker`` as a user runs it: real processes, a real Apache Kafka on Java."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream_engine.shell.localbroker.home import Home, Record
from stream_engine.shell.localbroker.process import ProcessId, end, is_alive
from stream_engine.shell.settings import Settings

pytestmark = pytest.mark.broker

START = ("start", "--using", "java", "--port", "0")


@dataclass(frozen=True)
class Command:
    """``stream-engine broker`` with settings of its own."""

    state_dir: Path
    bootstrap_servers: str = ""

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ENGINE_")}
        own = {
            "STREAM_ENGINE_STATE_DIR": str(self.state_dir),
            "STREAM_ENGINE_BOOTSTRAP_SERVERS": self.bootstrap_servers,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "stream_engine.cli.main", "broker", *arguments],
            env=inherited | own,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        with self.popen(*arguments) as process:
            stdout, stderr = process.communicate(timeout=180)
        assert process.returncode == exit_code, stderr
        assert "Traceback" not in stderr
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def status(self, *, exit_code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("status", "--json", exit_code=exit_code).stdout)
        return found

    def process(self) -> ProcessId:
        record = self.home.record()
        assert record is not None
        assert record.process is not None
        return record.process

    @property
    def home(self) -> Home:
        return Home(self.state_dir / "broker")


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path / "state")
    yield command
    command("stop")


def _write(address: str, topic: str, value: bytes) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(timeout=30)
    producer = Producer({"bootstrap.servers": address})
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def _read(address: str, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def test_start_serves_stop_ends_it_and_data_survives(command: Command) -> None:
    started = command(*START)
    address = started.stdout.strip()
    assert started.stdout == f"{address}\n"
    assert address.startswith("127.0.0.1:")
    first = command.status()
    assert (first["source"], first["running"], first["bootstrap_servers"]) == ("java", True, address)
    process = command.process()
    assert process.pid == first["pid"]
    _write(address, "kept", b"here")

    assert command("stop").stdout == ""
    assert not is_alive(process)
    stopped = command.status(exit_code=1)
    assert (stopped["running"], stopped["pid"], stopped["bootstrap_servers"]) == (False, None, address)
    assert "starts it again" in command("status", exit_code=1).stdout
    assert "no local broker runs" in command("stop").stderr

    again = command(*START).stdout.strip()
    assert again == address, "the port is remembered"
    assert command.status()["cluster_id"] == first["cluster_id"]
    assert _read(again, "kept") == b"here"


def test_two_starts_at_once_start_one_broker_and_it_survives_its_starters(command: Command) -> None:
    with command.popen(*START) as one, command.popen(*START) as two:
        addresses = {process.communicate(timeout=180)[0] for process in (one, two)}
    assert len(addresses) == 1
    assert command.status()["bootstrap_servers"] == addresses.pop().strip()
    assert is_alive(command.process())


def test_a_killed_broker_is_seen_as_stopped_and_starts_again(command: Command) -> None:
    address = command(*START).stdout.strip()
    _write(address, "kept", b"here")
    killed = command.process()
    os.kill(killed.pid, signal.SIGKILL)
    end(killed, grace=30)
    assert command.status(exit_code=1)["pid"] is None
    assert _read(command(*START).stdout.strip(), "kept") == b"here"
    assert command.process() != killed


def test_a_stale_record_hurts_nobody(command: Command) -> None:
    command.home.path.mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"]) as bystander:
        command.home.save(Record("java", 1, process=ProcessId(bystander.pid, "another birth")))
        assert "no local broker runs" in command("stop").stderr
        assert command.status(exit_code=1)["running"] is False
        assert bystander.poll() is None
        bystander.kill()


def test_a_taken_port_is_named(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        refused = command("start", "--using", "java", "--port", port, exit_code=1)
    assert refused.stdout == ""
    assert f"port {port} on 127.0.0.1 is taken" in refused.stderr


def test_a_configured_broker_is_used_and_left_alone(command: Command, broker: Settings) -> None:
    assert broker.bootstrap_servers is not None
    configured = replace(command, bootstrap_servers=broker.bootstrap_servers)
    assert configured("start").stdout.strip() == broker.bootstrap_servers
    assert "yours" in configured("status").stdout
    assert "was not started here" in configured("stop", exit_code=1).stderr
    assert not command.state_dir.exists()
