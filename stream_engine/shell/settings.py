"""Settings from the environment: one frozen value that everything else is handed.

Every variable starts with ``STREAM_ENGINE_``. A name that nobody reads is an error, because a misspelt setting that is
silently ignored is found in production. An empty variable counts as unset, as compose files and CI leave them.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from confluent_kafka import KafkaException, Producer

from stream_engine.shell.errors import UserError

PREFIX: Final = "STREAM_ENGINE_"
KAFKA_PREFIX: Final = PREFIX + "KAFKA__"
# The test suite's own switches are nobody's misspelling.
TEST_PREFIX: Final = PREFIX + "TEST_"

BOOTSTRAP_SERVERS: Final = PREFIX + "BOOTSTRAP_SERVERS"
STATE_DIR: Final = PREFIX + "STATE_DIR"
PARTITIONS: Final = PREFIX + "PARTITIONS"
START: Final = PREFIX + "START"
CHECKPOINT_BYTES: Final = PREFIX + "CHECKPOINT_BYTES"
STANDBYS: Final = PREFIX + "STANDBYS"
APP: Final = PREFIX + "APP"
SCHEMAS: Final = PREFIX + "SCHEMAS"
VARIABLES: Final = (BOOTSTRAP_SERVERS, STATE_DIR, PARTITIONS, START, APP, CHECKPOINT_BYTES, STANDBYS, SCHEMAS)

DEFAULT_PARTITIONS: Final = 16
MAX_PARTITIONS: Final = 1024
DEFAULT_STANDBYS: Final = 1
DEFAULT_CHECKPOINT_BYTES: Final = 16 * 1024 * 1024
MASK: Final = "***"

StartPosition = Literal["latest", "earliest"]
_START_POSITIONS: Final[Mapping[str, StartPosition]] = {"latest": "latest", "earliest": "earliest"}

_SERVER = re.compile(r"(?:\w+://)?(?:\[[0-9A-Fa-f:.%]+\]|[^\s,/:\[\]]+)(?::(?P<port>\d{1,5}))?")
_SECRET = re.compile(r"^sasl\.|password|secret|token|credential|oauth|jaas|\.pem$|(^|[._])key([._]|$)|keystore")
_PASSWORD = re.compile(r"//[^/@]*@")

# What each client is for decides these; another value would void a promise that the engine makes.
_OWNED_PROPERTIES: Final = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.gapless.guarantee",
        "enable.idempotence",
        "fetch.message.max.bytes",
        "group.id",
        "isolation.level",
        "message.max.bytes",
        "partition.assignment.strategy",
        "request.required.acks",
        "transactional.id",
    }
)


class SettingsError(UserError):
    """A setting that cannot be used. The message names the variable, its value (unless secret) and what is allowed."""

    def __init__(self, variable: str, value: str, problem: str) -> None:
        super().__init__(f"{variable}={value!r}: {problem}")
        self.variable = variable


@dataclass(frozen=True, repr=False)
class Settings:
    """What the environment says, checked.

    Attributes:
        bootstrap_servers: ``host:port[,host:port...]``, or None where no broker is configured.
        kafka: librdkafka properties from ``STREAM_ENGINE_KAFKA__*``, by their dotted names; values may be secret.
        state_dir: absolute path of the folder for local state; it need not exist yet.
        partitions: partitions of each of an app's internal topics, 1 to 1024; fixed once the topics exist.
        start: where a consumer group without offsets begins.
        app: the app that commands are about when they are not told, or None.
        checkpoint_bytes: how far a partition's journal grows at least before its state is written to the state topic.
        standbys: how many other workers keep a warm copy of each partition's state.
        schemas: where Avro schemas are found by their ids: a folder with ``<id>.avsc``, or the address of a schema registry,
            which may hold a password; or None.
        cache_dir: absolute path of the folder for what can be downloaded again; it need not exist yet.
    """

    state_dir: Path
    bootstrap_servers: str | None = None
    kafka: Mapping[str, str] = field(default_factory=dict)
    partitions: int = DEFAULT_PARTITIONS
    start: StartPosition = "latest"
    app: str | None = None
    checkpoint_bytes: int = DEFAULT_CHECKPOINT_BYTES
    standbys: int = DEFAULT_STANDBYS
    schemas: str | None = None
    cache_dir: Path = field(default_factory=lambda: _xdg(os.environ, "XDG_CACHE_HOME", "~/.cache"))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read and check the settings.

        Raises:
            SettingsError: a value is not allowed, or a ``STREAM_ENGINE_`` variable is unknown.
        """
        given = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value.strip()}
        _refuse_unknown(given)
        kafka = _kafka_properties(given)
        # librdkafka has this one under a name of its own too, and whoever sets only that means the same.
        servers = given.get(BOOTSTRAP_SERVERS) or kafka.get("bootstrap.servers")
        if servers != kafka.pop("bootstrap.servers", servers):
            other = KAFKA_PREFIX + "BOOTSTRAP_SERVERS"
            raise SettingsError(other, given[other], f"{BOOTSTRAP_SERVERS} says otherwise; set only that one")
        return cls(
            state_dir=_state_dir(given.get(STATE_DIR), environ),
            bootstrap_servers=None if servers is None else _servers(servers),
            kafka=kafka,
            partitions=_number(given, PARTITIONS, DEFAULT_PARTITIONS, range(1, MAX_PARTITIONS + 1)),
            start=_start(given.get(START)),
            app=given.get(APP),
            checkpoint_bytes=_number(given, CHECKPOINT_BYTES, DEFAULT_CHECKPOINT_BYTES, range(1, 2**40 + 1)),
            standbys=_number(given, STANDBYS, DEFAULT_STANDBYS, range(11)),
            schemas=_schemas(given.get(SCHEMAS)),
            cache_dir=_xdg(environ, "XDG_CACHE_HOME", "~/.cache"),
        )

    def client_config(self, tuned: Mapping[str, Any] | None = None, /, **own: Any) -> dict[str, Any]:
        """A librdkafka configuration for one client: what is ``tuned`` stands unless the user has another value, ``own`` always.

        Property names have dots, so pass them as ``client_config(**{"group.id": "shop.router"})``.

        Raises:
            SettingsError: no broker is configured.
        """
        if self.bootstrap_servers is None:
            remedy = "set it to host:port, or start a local broker with `stream-engine broker start`"
            raise SettingsError(BOOTSTRAP_SERVERS, "", f"no Kafka broker is configured; {remedy}")
        return {"bootstrap.servers": self.bootstrap_servers, **(tuned or {}), **self.kafka, **own}

    def describe(self) -> dict[str, str]:
        """Every setting by the name of its variable, as text, with secrets masked: fit for logs, `doctor` and pages."""
        shown = {
            BOOTSTRAP_SERVERS: self.bootstrap_servers or "",
            STATE_DIR: str(self.state_dir),
            PARTITIONS: str(self.partitions),
            START: self.start,
            APP: self.app or "",
            CHECKPOINT_BYTES: str(self.checkpoint_bytes),
            STANDBYS: str(self.standbys),
            SCHEMAS: _PASSWORD.sub(f"//{MASK}@", self.schemas or ""),
        }
        return shown | {_variable(name): _shown(name, value) for name, value in sorted(self.kafka.items())}

    def __repr__(self) -> str:
        """The same as `describe`, so that no traceback or log line can leak a secret."""
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.describe().items())})"


def is_secret(name: str) -> bool:
    """Whether the value of this librdkafka property must not be shown."""
    return _SECRET.search(name) is not None


def _shown(name: str, value: str) -> str:
    return MASK if is_secret(name) else value


def _variable(property_name: str) -> str:
    return KAFKA_PREFIX + property_name.upper().replace(".", "_")


def _refuse_unknown(given: Mapping[str, str]) -> None:
    for name, value in given.items():
        if name in VARIABLES or name.startswith((KAFKA_PREFIX, TEST_PREFIX)):
            continue
        near = difflib.get_close_matches(name, VARIABLES, n=1)
        if name.startswith(PREFIX + "KAFKA"):
            near = [KAFKA_PREFIX + name.removeprefix(PREFIX + "KAFKA").strip("_")]
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(VARIABLES)} and {KAFKA_PREFIX}*"
        # An unknown name says nothing about what its value is, so the value stays out of the message.
        raise SettingsError(name, MASK if value else "", f"there is no such setting; {hint}")


def _kafka_properties(given: Mapping[str, str]) -> dict[str, str]:
    properties: dict[str, str] = {}
    for variable, value in given.items():
        if not variable.startswith(KAFKA_PREFIX):
            continue
        name = variable.removeprefix(KAFKA_PREFIX).lower().replace("_", ".")
        if name in _OWNED_PROPERTIES:
            raise SettingsError(variable, _shown(name, value), f"the engine sets {name} itself; unset this variable")
        _check_property(variable, name, value)
        properties[name] = value
    return properties


def _check_property(variable: str, name: str, value: str) -> None:
    """Let librdkafka judge one property, without making a client.

    librdkafka takes properties in order and stops at the first that it refuses. A last one that it is sure to refuse
    makes that happen before anything is created, and tells whether the one before it was accepted.
    """
    probe = "stream-engine.probe"
    reason = probe
    try:
        Producer({name: value, probe: ""})
    except KafkaException as error:
        reason = error.args[0].str()
    if probe in reason:
        return
    if "No such configuration property" in reason:
        problem = f"librdkafka has no property {name}; its list of configuration properties names them all"
    else:
        verdict = MASK if is_secret(name) else reason
        problem = f"librdkafka refuses it ({verdict}); its list of configuration properties says what {name} may be"
    raise SettingsError(variable, _shown(name, value), problem)


def _servers(value: str) -> str:
    servers = [server.strip() for server in value.split(",")]
    for server in servers:
        match = _SERVER.fullmatch(server)
        if match is None or int(match["port"] or 9092) not in range(1, 65536):
            raise SettingsError(BOOTSTRAP_SERVERS, value, f"{server!r} is not host:port; give host:port[,host:port...]")
    return ",".join(servers)


def _number(given: Mapping[str, str], variable: str, default: int, allowed: range) -> int:
    value = given.get(variable)
    if value is None:
        return default
    if not value.strip().isdecimal() or int(value) not in allowed:
        raise SettingsError(variable, value, f"give a whole number from {allowed[0]} to {allowed[-1]}")
    return int(value)


def _start(value: str | None) -> StartPosition:
    position = _START_POSITIONS.get((value or "latest").strip().lower())
    if position is None:
        raise SettingsError(START, value or "", f"give {' or '.join(_START_POSITIONS)}")
    return position


def _schemas(value: str | None) -> str | None:
    if value is None or re.fullmatch(r"https?://[^/\s]+\S*", value):
        return value
    path = Path(value).expanduser().absolute()
    if not path.is_dir():
        shown = _PASSWORD.sub(f"//{MASK}@", value)
        raise SettingsError(
            SCHEMAS, shown, "give a folder that holds <id>.avsc, or a registry's address: http://host:port"
        )
    return str(path)


def _state_dir(value: str | None, environ: Mapping[str, str]) -> Path:
    if value is None:
        return _xdg(environ, "XDG_STATE_HOME", "~/.local/state")
    path = Path(value).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise SettingsError(
            STATE_DIR, value, "this is a file; give a folder, which may be missing but must be writable"
        )
    return path


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> Path:
    base = Path(environ.get(variable) or default)
    # The XDG specification says to ignore relative paths.
    base = base if base.is_absolute() else Path(default)
    return base.expanduser() / "stream-engine"
