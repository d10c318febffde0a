"""Start, stop and look at the broker that this machine's commands and tests use.

In this order: the broker that ``STREAM_ENGINE_BOOTSTRAP_SERVERS`` names, which is never started or stopped here; one that
was started in the state folder before; a new one, in Docker or as a process.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker.choice import Kind, choose
from stream_engine.shell.localbroker.docker import (
    container_runs,
    docker_answers,
    restart_container,
    start_container,
    stop_container,
)
from stream_engine.shell.localbroker.home import Home, Record
from stream_engine.shell.localbroker.jars import kafka_jars
from stream_engine.shell.localbroker.java import find_java
from stream_engine.shell.localbroker.kraft import log_tail, start_kraft
from stream_engine.shell.localbroker.ports import LOOPBACK, any_free_port, pick_port
from stream_engine.shell.localbroker.probe import cluster_id
from stream_engine.shell.localbroker.process import end, is_alive
from stream_engine.shell.settings import BOOTSTRAP_SERVERS, Settings

Say = Callable[[str], None]

_SERVE_SECONDS: Final = 120.0
_ANSWER_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 30.0
_PORT_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class BrokerStatus:
    """What is known of the broker at one moment.

    Attributes:
        source: ``configured`` (by the user, elsewhere), ``docker``, ``java``, or None where there is none yet.
        running: whether it answers.
        bootstrap_servers: its address, or the one that it had; None where there is none yet.
        cluster_id: Kafka's name for the cluster; None unless it answers.
        pid: the broker's process, where it is one of this machine.
        container: the container's id, where it is one.
        directory: the local broker's folder, with its data and ``broker.log``; None for a configured one.
    """

    source: Literal["configured"] | Kind | None
    running: bool
    bootstrap_servers: str | None = None
    cluster_id: str | None = None
    pid: int | None = None
    container: str | None = None
    directory: Path | None = None


def status(settings: Settings) -> BrokerStatus:
    """Look at the broker, waiting up to 10 s for its answer.

    Raises:
        UserError: the local broker's record is damaged.
    """
    if settings.bootstrap_servers is not None:
        return _look_at_configured(settings)
    home = _home(settings)
    record = home.record()
    if record is None:
        return BrokerStatus(source=None, running=False, directory=home.path)
    return _look_at_local(home, record, patience=_ANSWER_SECONDS)


def start(
    settings: Settings, *, using: Kind | None = None, port: int | None = None, say: Say = lambda _: None
) -> BrokerStatus:
    """Start a broker, unless one runs, and return once it serves. Calls at the same time wait for each other.

    Args:
        settings: whose ``bootstrap_servers`` are checked instead, if set; ``state_dir`` holds the broker's folder.
        using: the kind, where the choice should not depend on whether a Docker engine answers.
        port: on 127.0.0.1; 0 for any free one. By default the one of last time, else 9092, else any, as they are free.
        say: told what takes a while.

    Raises:
        UserError: it cannot be started, or a configured one does not answer.
    """
    if settings.bootstrap_servers is not None:
        found = _look_at_configured(settings)
        if not found.running:
            raise _silent(settings)
        return found
    home = _home(settings)
    with home.locked():
        record = home.record()
        if record is None or not _runs(record):
            kind = choose(wanted=using, previous=record.kind if record else None, docker_answers=docker_answers)
            record = _start_docker(home, record, port) if kind == "docker" else _start_java(settings, record, port, say)
        found = _look_at_local(home, record, patience=_SERVE_SECONDS)
    if not found.running:
        raise _not_serving(home)
    return found


def stop(settings: Settings) -> bool:
    """Stop the local broker, keeping its data, and return once it is gone; False if none ran.

    Raises:
        UserError: only a configured broker is there, or this one cannot be ended.
    """
    home = _home(settings)
    if not home.path.exists():
        record = None
    else:
        with home.locked():
            record = home.record()
            if record is not None and _runs(record):
                _stop(record)
                return True
    if settings.bootstrap_servers is not None:
        raise UserError(f"{BOOTSTRAP_SERVERS} names a broker that was not started here: stop it where it was started")
    return False


def connected(settings: Settings) -> Settings:
    """The settings with a broker in them: the configured one, else the local one that runs.

    Raises:
        UserError: neither is there.
    """
    if settings.bootstrap_servers is not None:
        return settings
    found = status(settings)
    if not found.running:
        remedy = f"set {BOOTSTRAP_SERVERS}, or start a local one with `stream-engine broker start`"
        raise UserError(f"no Kafka broker is configured, and no local one runs: {remedy}")
    return replace(settings, bootstrap_servers=found.bootstrap_servers)


def _home(settings: Settings) -> Home:
    return Home(settings.state_dir / "broker")


def _runs(record: Record) -> bool:
    if record.container is not None:
        return container_runs(record.container)
    return record.process is not None and is_alive(record.process)


def _stop(record: Record) -> None:
    if record.container is not None:
        stop_container(record.container)
    elif record.process is not None:
        end(record.process, grace=_STOP_SECONDS)


def _look_at_configured(settings: Settings) -> BrokerStatus:
    found = cluster_id(settings.client_config(), patience=_ANSWER_SECONDS, worth_waiting=lambda: True)
    return BrokerStatus("configured", found is not None, settings.bootstrap_servers, found)


def _look_at_local(home: Home, record: Record, *, patience: float) -> BrokerStatus:
    address = f"{LOOPBACK}:{record.port}"
    found = cluster_id({"bootstrap.servers": address}, patience=patience, worth_waiting=lambda: _runs(record))
    pid = record.process.pid if record.process is not None and is_alive(record.process) else None
    return BrokerStatus(record.kind, found is not None, address, found, pid, record.container, home.path)


def _start_docker(home: Home, last: Record | None, port: int | None) -> Record:
    if last is not None and last.container is not None and restart_container(last.container):
        return last
    chosen = pick_port(port, last.port if last else None)
    # One container a folder; the folder's path is what tells two of them apart.
    name = f"stream-engine-broker-{hashlib.sha256(str(home.path).encode()).hexdigest()[:8]}"
    record = Record(kind="docker", port=chosen, container=start_container(name, chosen))
    home.save(record)
    return record


def _start_java(settings: Settings, last: Record | None, port: int | None, say: Say) -> Record:
    home = _home(settings)
    java = find_java()
    jars = kafka_jars(settings.cache_dir, java=java, say=say)
    say("starting Apache Kafka")
    for attempt in itertools.count(1):
        chosen = pick_port(port, last.port if last else None)
        process = start_kraft(home, java=java, jars=jars, port=chosen, controller_port=any_free_port())
        record = Record(kind="java", port=chosen, process=process)
        home.save(record)
        if _look_at_local(home, record, patience=_SERVE_SECONDS).running:
            return record
        _stop(record)
        # Between the choice of a port and the broker's taking it, anybody may have come first.
        if attempt == _PORT_ATTEMPTS or "Address already in use" not in log_tail(home):
            break
    raise _not_serving(home)


def _not_serving(home: Home) -> UserError:
    return UserError(f"the local broker did not come up. The end of its log, {home.log}:\n{log_tail(home)}")


def _silent(settings: Settings) -> UserError:
    what = f"{BOOTSTRAP_SERVERS}={settings.bootstrap_servers}: no broker answered within {_ANSWER_SECONDS:g} s"
    return UserError(f"{what}; check the address, and the security settings if it wants any")
