"""A Faust app that keeps the engine's rules: no web server, little memory, tables in the state folder that can be lost.

What Faust does and this must know (0.15):

* It commits what was acknowledged, and acknowledges an event as soon as the next one is asked for, also when its agent
  failed over it. So agents take their streams with ``noack``, acknowledge behind what Kafka has acknowledged
  (`Acks`), and `guarded` ends the app at the first error instead of going on behind a hole.
* It writes RocksDB first and the changelog later. So a table may be ahead of its changelog after a crash; whoever counts
  has to send again what it finds counted already.
* A table whose offset lies beyond its changelog is never recovered. So a table's folder says of which topics it was made
  (`Prepare`), and is emptied where these are others.
* It lets windows expire only that it has seen since its start, so windows are not left to it.
* It goes on reading while it seeks to what is committed, and loses some of what it reads; `stream_engine.shell.edge.consumer` tells of it.
* Its RocksDB opens a block cache of 2 GiB and write buffers of 192 MiB per partition unless told otherwise.
"""

import asyncio
import logging
import shutil
import ssl
import warnings
import weakref
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Final

import faust
import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from faust.exceptions import AlreadyConfiguredWarning
from faust.streams import _current_event

from stream_engine.shell import clients
from stream_engine.shell.edge.consumer import SeekingConsumer
from stream_engine.shell.errors import UserError
from stream_engine.shell.folder import Folder
from stream_engine.shell.settings import KAFKA_PREFIX, Settings, SettingsError
from stream_engine.shell.topics import Wanted, create, topic_id

_log = logging.getLogger(__name__)

TABLE_OPTIONS: Final = {
    "block_cache_size": 4 * 1024 * 1024,
    "write_buffer_size": 2 * 1024 * 1024,
    "max_write_buffer_number": 2,
    "target_file_size_base": 8 * 1024 * 1024,
    "max_open_files": 64,
}
"""What RocksDB may use for one partition of a table."""

_COMMIT_SECONDS: Final = 1.0
# Faust would leave the partitions of a process that was killed to nobody for a minute.
_SESSION_SECONDS: Final = 10.0
_HEARTBEAT_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 30
_CHUNK: Final = 1_000
_MARKER: Final = "topics.json"
_NO_GROUP: Final = frozenset({"GROUP_ID_NOT_FOUND", "INVALID_GROUP_ID"})


class Changes(faust.Table):  # type: ignore[misc, unused-ignore]  # Faust's classes are untyped here
    """A table that tells when what was written to it has arrived in its changelog."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See `faust.Table`."""
        super().__init__(*args, **kwargs)
        self._sent: list[asyncio.Future[Any]] = []

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        """Send a change, and keep account of it."""
        message = super().send_changelog(*args, **kwargs)
        self._sent.append(message)
        return message

    async def arrived(self) -> None:
        """Wait until Kafka has acknowledged all changes so far; raise whatever kept one from it."""
        await asyncio.gather(*self._sent)
        # Several may wait for the same changes, so they stay until they have arrived.
        self._sent = [change for change in self._sent if not change.done()]

    async def expire(self, latest: Mapping[int, Any], is_old: Callable[[bytes, bytes], bool]) -> int:
        """Delete what is old, by key and value, in some partitions; return how much that was.

        ``latest`` has an event of each of these partitions.
        """
        expired = 0
        for partition, event in latest.items():
            store = self.data
            there = store._dbs.get(partition)  # noqa: SLF001 - a store tells only of all its partitions together
            items = () if there is None else store._visible_items(there)  # noqa: SLF001 - see above
            old = [key for key, value in items if is_old(key, value)]
            for at in range(0, len(old), _CHUNK):
                within(event)
                for key in old[at : at + _CHUNK]:
                    self.pop(key, None)
                await self.arrived()
            expired += len(old)
        return expired


class Acks:
    """Acknowledges events to Faust, in the order in which they came, once Kafka has what was made of them."""

    def __init__(self, table: Changes) -> None:
        """``table`` is what they changed."""
        self._table = table
        self._open: list[tuple[Any, tuple[Awaitable[Any], ...]]] = []
        self._flushing = asyncio.Lock()

    def add(self, event: Any, *sent: Awaitable[Any]) -> None:
        """Acknowledge an event once all that was sent for it has arrived, and all changes so far."""
        self._open.append((event, sent))

    def forget(self) -> None:
        """Acknowledge none of those that are open: they are read again."""
        self._open.clear()

    async def flush(self) -> None:
        """Wait until all that was made of the events so far has arrived, and acknowledge them; raise whatever kept it from that."""
        # Taken at once: what comes while others are waited for may have changes that are not written yet.
        events, self._open = self._open, []
        async with self._flushing:
            await self._table.arrived()
            await asyncio.gather(*(one for _, sent in events for one in sent))
            for event, _ in events:
                event.ack()


def within(event: Any) -> None:
    """Make an event the one in progress: what is written to a table goes to the partition of its number."""
    _current_event.set(weakref.ref(event))


def table(app: "EdgeApp", name: str, changelog: str) -> Changes:
    """Return a table of bytes, kept in RocksDB and in a topic, which `Prepare` makes."""
    topic = app.topic(
        changelog,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        compacting=True,
        acks=False,
        internal=True,
        maxsize=131_072,
        allow_empty=True,
    )
    made = Changes(app, name=name, key_type=bytes, value_type=bytes, options=dict(TABLE_OPTIONS), changelog_topic=topic)
    app.tables.add(made)
    return made


class _Boot(faust.App.BootStrategy):  # type: ignore[misc, unused-ignore]  # Faust's classes are untyped here
    """Starts what a worker needs, without a web server: Faust's own command would have one whatever the settings say."""

    enable_web = False


class EdgeApp(faust.App):  # type: ignore[misc, unused-ignore]  # Faust's classes are untyped here
    """A Faust app that has its folder and topics prepared before it starts."""

    BootStrategy = _Boot

    prepare: Callable[[], str] | None = None
    """Does what has to be done before the start, and returns the folder for the tables."""

    async def on_first_start(self) -> None:
        """Prepare, in a thread, and go on as Faust does."""
        if self.prepare is not None:
            folder = await asyncio.to_thread(self.prepare)
            with warnings.catch_warnings():
                # Nothing has asked where tables are: stores are made after this.
                warnings.simplefilter("ignore", AlreadyConfiguredWarning)
                self.conf.datadir = folder
        await super().on_first_start()

    def _new_transport(self) -> Any:
        transport = super()._new_transport()
        transport.Consumer = SeekingConsumer
        return transport


class Prepare:
    """Creates a Faust app's topics, claims a folder for its tables, and empties it where it belongs to other topics.

    ``own`` are the topics that the app keeps its tables in, ``sources`` those that it reads. Where one of its own is made
    anew, the group begins anew as well, so that everything is counted again from what its sources still have.
    """

    def __init__(self, settings: Settings, id: str, own: list[Wanted], sources: list[str]) -> None:
        self._settings = settings
        self._id = id
        self._own = own
        self._sources = sources
        self._folder: Folder | None = None

    def __call__(self) -> str:
        """Do it; return the folder.

        Raises:
            UserError: the folder cannot be written, or Kafka refuses to create a topic.
        """
        admin = clients.admin(self._settings)
        made = create(admin, self._own)
        self._folder = Folder(self._settings.state_dir, self._id)
        names = [*self._sources, *(topic.name for topic in self._own)]
        ids = {name: topic_id(admin, name) for name in names}
        marker = self._folder.path / _MARKER
        known = marker.read_bytes() if marker.exists() else b""
        now = msgspec.json.encode(ids, order="sorted")
        if known != now:
            for path in self._folder.path.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
            marker.write_bytes(now)
        if made or (known and known != now):
            _begin_anew(admin, self._id)
        return str(self._folder.path)


def edge_app(settings: Settings, id: str, prepare: Callable[[], str]) -> EdgeApp:
    """Return a Faust app; ``id`` is its group.

    Raises:
        SettingsError: no broker is configured, or one is in a way that Faust cannot connect by.
    """
    if settings.bootstrap_servers is None:
        settings.client_config()  # says so
    servers = str(settings.bootstrap_servers).split(",")
    app = EdgeApp(
        id,
        broker=[f"aiokafka://{server.rpartition('://')[2]}" for server in servers],
        broker_credentials=_credentials(settings),
        store="rocksdb://",
        datadir=str(settings.state_dir / id),
        autodiscover=False,
        web_enabled=False,
        web_host="127.0.0.1",
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=_COMMIT_SECONDS,
        broker_session_timeout=_SESSION_SECONDS,
        broker_heartbeat_interval=_HEARTBEAT_SECONDS,
        producer_acks=-1,
    )
    app.prepare = prepare
    return app


def guarded(app: EdgeApp, body: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return an agent or timer that ends the app when it fails: started again, it goes on behind what was acknowledged."""

    @wraps(body)
    async def guard(*args: Any) -> None:
        try:
            await body(*args)
        except Exception as error:
            _log.exception("%s has failed, and ends", app.conf.id)
            await app.crash(error)
            raise

    return guard


def _begin_anew(admin: AdminClient, group: str) -> None:
    try:
        admin.delete_consumer_groups([group], request_timeout=_ANSWER_SECONDS)[group].result(_ANSWER_SECONDS)
    except KafkaException as error:
        problem: KafkaError = error.args[0]
        if problem.name() == "NON_EMPTY_GROUP":
            _log.warning(
                "topics of %s were made anew while others of it run: what they have counted is not counted again", group
            )
        elif problem.name() not in _NO_GROUP:
            raise UserError(f"Kafka does not let the group {group} begin anew: {problem.str()}") from error


def _credentials(settings: Settings) -> Any:
    """Translate what librdkafka would be told about security into what Faust is told."""
    given = settings.kafka
    protocol = given.get("security.protocol", "plaintext").lower()
    if protocol == "plaintext":
        return None
    context = None
    if protocol in {"ssl", "sasl_ssl"}:
        context = ssl.create_default_context(cafile=given.get("ssl.ca.location"))
        if certificate := given.get("ssl.certificate.location"):
            context.load_cert_chain(certificate, given.get("ssl.key.location"), given.get("ssl.key.password"))
    if protocol == "ssl":
        return faust.SSLCredentials(context)
    mechanism = given.get("sasl.mechanism") or given.get("sasl.mechanisms") or "PLAIN"
    if mechanism.upper() not in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}:
        variable = KAFKA_PREFIX + "SASL_MECHANISM"
        raise SettingsError(variable, mechanism, "the Faust apps know PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512")
    username, password = given.get("sasl.username"), given.get("sasl.password")
    return faust.SASLCredentials(username=username, password=password, ssl_context=context, mechanism=mechanism.upper())
