"""Apache Kafka in KRaft mode as a process of its own: one node that is broker and controller at once."""

from __future__ import annotations

import os
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Final
from uuid import uuid4

from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker.home import Home
from stream_engine.shell.localbroker.ports import LOOPBACK
from stream_engine.shell.localbroker.process import ProcessId, start_detached

# Internal topics take records of 4 MiB; the rest is room for a batch's frame and headers.
MAX_MESSAGE_BYTES: Final = 5 * 1024 * 1024

_LOGGING: Final = Path(__file__).with_name("log4j2.properties")
_TAIL_LINES: Final = 15

# What differs from Kafka's defaults, for one node on a developer's machine. Docker's container is given the same.
BROKER_PROPERTIES: Final = {
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    # A test's consumer that dies without leaving should not hold its partitions for long.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    "message.max.bytes": str(MAX_MESSAGE_BYTES),
    "min.insync.replicas": "1",
    "offsets.topic.num.partitions": "8",
    "offsets.topic.replication.factor": "1",
    "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
}


def start_kraft(home: Home, *, java: Path, jars: Path, port: int, controller_port: int) -> ProcessId | None:
    """Start the broker on the folder's data, formatting it at the first start; None if the process ended at once.

    Both ports may differ from last time: they are part of the configuration, not of the data.

    Raises:
        UserError: the data folder cannot be formatted.
    """
    home.properties.write_text(_properties(home, port, controller_port))
    command = [str(java), "-Xms256m", "-Xmx1g", "-XX:+UseG1GC", "-Djava.awt.headless=true"]
    command += [f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}", "-cp", f"{jars}/*"]
    if not (home.data / "meta.properties").exists():
        _format(home, command)
    if home.log.exists():
        home.log.replace(home.log.with_suffix(".log.1"))
    return start_detached([*command, "kafka.Kafka", str(home.properties)], log=home.log, env=os.environ)


def log_tail(home: Home) -> str:
    """The last lines that the broker wrote, for an error message."""
    try:
        lines = home.log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-_TAIL_LINES:])


def _format(home: Home, java: list[str]) -> None:
    tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "--config", str(home.properties)]
    command = [*java, *tool, f"--cluster-id={_new_cluster_id()}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"the local broker's data folder {home.data} could not be formatted:\n{done.stdout.strip()}")


def _new_cluster_id() -> str:
    return urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")


def _properties(home: Home, port: int, controller_port: int) -> str:
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "BROKER",
        "listeners": f"BROKER://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(home.data),
        # Small pools: the machine is shared with the worker, and with the tests of it.
        "background.threads": "2",
        "num.io.threads": "4",
        "num.network.threads": "2",
        "num.recovery.threads.per.data.dir": "1",
        **BROKER_PROPERTIES,
    }
    return "".join(f"{name}={value}\n" for name, value in properties.items())
