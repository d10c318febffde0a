"""Three real brokers on this machine, which are killed, and lose their disks, one by one. Use it where one broker cannot show what several do."""

from __future__ import annotations

import os
import shutil
import subprocess
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream_engine.shell.localbroker.jars import kafka_jars
from stream_engine.shell.localbroker.java import find_java
from stream_engine.shell.localbroker.kraft import BROKER_PROPERTIES
from stream_engine.shell.localbroker.ports import LOOPBACK, any_free_port
from stream_engine.shell.settings import Settings
from tests.workers import until

_PATIENCE: Final = 120.0
_NODES: Final = (1, 2, 3)
_LOGGING: Final = Path(kafka_jars.__code__.co_filename).with_name("log4j2.properties")
_THREE: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    # What is away for longer than this is out of sync, and a broker that was killed is known to be gone.
    "replica.lag.time.max.ms": "5000",
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "1000",
    "controlled.shutdown.enable": "true",
}


class Cluster:
    """Brokers by their numbers, 1 to 3; each is a controller too. Use it in a ``with``."""

    def __init__(self, folder: Path) -> None:
        java, settings = find_java(), Settings(state_dir=folder)
        jars = kafka_jars(settings.cache_dir, java=java, say=print)
        self._java = [str(java), "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        self._java += [f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}", "-cp", f"{jars}/*"]
        self._folder = folder
        self._id = urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
        self._ports = {number: any_free_port() for number in _NODES}
        self._controllers = {number: any_free_port() for number in _NODES}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def servers(self) -> str:
        """The address by which clients find it, whichever brokers are there."""
        return ",".join(f"{LOOPBACK}:{port}" for port in self._ports.values())

    def settings(self, folder: Path) -> Settings:
        """Return the settings of whoever uses it, with a state folder in this one."""
        return Settings(state_dir=folder / "state", bootstrap_servers=self.servers)

    def __enter__(self) -> Self:
        for number in _NODES:
            (self._folder / str(number)).mkdir(parents=True)
            self._properties(number).write_text(self._config(number), encoding="utf-8")
        formats = [self._format(number) for number in _NODES]
        assert [process.wait(_PATIENCE) for process in formats] == [0] * len(_NODES)
        self.start(*_NODES)
        return self

    def __exit__(self, *error: object) -> None:
        self.kill(*self._processes)

    def start(self, *numbers: int) -> None:
        """Start brokers, and return once all that run are there for clients."""
        for number in numbers:
            command = [*self._java, "kafka.Kafka", str(self._properties(number))]
            self._processes[number] = self._begin(number, command)
        admin = AdminClient({"bootstrap.servers": self.servers})

        def there() -> bool:
            with suppress(KafkaException):
                return self._processes.keys() <= admin.list_topics(timeout=5).brokers.keys()
            return False

        until(there, f"the brokers {sorted(self._processes)} serve; see {self._folder}", _PATIENCE)

    def kill(self, *numbers: int) -> None:
        """Kill brokers, as a power cut would."""
        for number in numbers:
            self._processes[number].kill()
        for number in numbers:
            self._processes.pop(number).wait(_PATIENCE)

    def stop(self, number: int) -> None:
        """Have a broker hand over what it leads, and end."""
        self._processes[number].terminate()
        self._processes.pop(number).wait(_PATIENCE)

    def lose_disk(self, number: int) -> None:
        """Give a broker that does not run an empty disk."""
        shutil.rmtree(self._folder / str(number) / "data")
        assert self._format(number).wait(_PATIENCE) == 0

    def _format(self, number: int) -> subprocess.Popen[bytes]:
        tool = [
            "kafka.tools.StorageTool",
            "format",
            "--config",
            str(self._properties(number)),
            # By itself, an id that begins with a dash would be an option.
            f"--cluster-id={self._id}",
        ]
        return self._begin(number, [*self._java, *tool])

    def _begin(self, number: int, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / str(number) / "broker.log").open("ab") as log:
            return subprocess.Popen(command, env=os.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _properties(self, number: int) -> Path:
        return self._folder / str(number) / "server.properties"

    def _config(self, number: int) -> str:
        own, controller = f"{LOOPBACK}:{self._ports[number]}", f"{LOOPBACK}:{self._controllers[number]}"
        voters = ",".join(f"{node}@{LOOPBACK}:{port}" for node, port in self._controllers.items())
        properties = {
            **BROKER_PROPERTIES,
            **_THREE,
            "process.roles": "broker,controller",
            "node.id": str(number),
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "BROKER",
            "listeners": f"BROKER://{own},CONTROLLER://{controller}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self._folder / str(number) / "data"),
            "num.io.threads": "4",
            "num.network.threads": "2",
        }
        return "".join(f"{name}={value}\n" for name, value in properties.items())
