"""Kafka in a container, by testcontainers, which is an extra: nothing here is imported before it is known to be wanted."""

from __future__ import annotations

import socket
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Final

from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker.kraft import BROKER_PROPERTIES
from stream_engine.shell.localbroker.ports import LOOPBACK

IMAGE: Final = "confluentinc/cp-kafka:7.9.0"
_UNIX: Final = "unix://"
_DEFAULT_HOST: Final = f"{_UNIX}/var/run/docker.sock"
_LISTENER_PORT: Final = 9093
_ANSWER_SECONDS: Final = 2
_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 30


def docker_answers() -> bool:
    """Whether the extra is installed and a Docker engine answers within two seconds."""
    if find_spec("testcontainers") is None:
        return False
    try:
        return bool(_engine(timeout=_ANSWER_SECONDS).ping())
    except Exception:  # noqa: BLE001 - whatever stands in the way of an answer, the answer is no
        return False


def start_container(name: str, port: int) -> str:
    """Start Kafka in a container that stays when this process ends, on 127.0.0.1:`port`; returns the container's id.

    Raises:
        UserError: the extra is missing, or the engine would not start it.
    """
    if find_spec("testcontainers") is None:
        raise UserError("starting the local broker in Docker needs the extra 'stream-engine[docker]'; install it")
    from testcontainers.community.kafka import KafkaContainer  # noqa: PLC0415 - an extra, which may not be installed
    from testcontainers.core.config import testcontainers_config  # noqa: PLC0415 - the same

    # Its reaper would remove the container as soon as this process ends.
    testcontainers_config.ryuk_disabled = True
    broker = KafkaContainer(IMAGE, port=_LISTENER_PORT).with_kraft().with_name(name)
    broker.ports = {str(_LISTENER_PORT): (LOOPBACK, port)}  # type: ignore[dict-item]  # docker takes it; without, it is open to all
    for key, value in BROKER_PROPERTIES.items():
        broker.with_env(f"KAFKA_{key.upper().replace('.', '_')}", value)
    try:
        broker.start(timeout=_START_SECONDS)
    except Exception as error:
        with suppress(Exception):
            broker.stop()
        raise UserError(f"Docker could not start {IMAGE}: {error}; try `--using java`") from error
    return str(broker.get_wrapped_container().id)


def restart_container(container: str) -> bool:
    """Start a stopped container again, with its data and its port; False if it is no longer there."""
    return _call(container, "start")


def stop_container(container: str) -> bool:
    """Stop a container, keeping its data; False if it is no longer there."""
    return _call(container, "stop", timeout=_STOP_SECONDS)


def container_runs(container: str) -> bool:
    """Whether this container runs now; False also where no engine answers."""
    try:
        return bool(_engine(timeout=_ANSWER_SECONDS).containers.get(container).status == "running")
    except Exception:  # noqa: BLE001 - as in docker_answers
        return False


def _call(container: str, verb: str, **options: Any) -> bool:
    from docker.errors import DockerException, NotFound  # noqa: PLC0415 - an extra, which may not be installed

    try:
        getattr(_engine(timeout=2 * _STOP_SECONDS).containers.get(container), verb)(**options)
    except NotFound:
        return False
    except (DockerException, OSError) as error:
        raise UserError(f"Docker could not {verb} the local broker's container {container[:12]}: {error}") from error
    return True


def _engine(*, timeout: float) -> Any:
    from testcontainers.core.docker_client import DockerClient, get_docker_host  # noqa: PLC0415 - an extra

    # Docker's own client leaks a socket where nobody listens, which is the usual case without an engine.
    host = get_docker_host() or _DEFAULT_HOST
    if host.startswith(_UNIX):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(host.removeprefix(_UNIX))
    return DockerClient(timeout=timeout).client
