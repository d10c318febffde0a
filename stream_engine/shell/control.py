"""`<app>.control`: the compacted topic that says which catalogue of functions routers go by, and how history is encoded.

It also has a key for each format of records that a worker has ever made use of (`stream_engine.core.records.journal`). A worker writes it
before it does anything else, so that one that does not know the format stops where nothing has happened yet: when it is started, or
when it follows. No key is written twice, so that compaction never puts one behind the catalogues that may need it.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from queue import SimpleQueue

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.functions.match import Matched
from stream_engine.core.functions.pausing import Pause, PausedFunctions, hold_back
from stream_engine.core.partition.halted import Halted
from stream_engine.core.records.journal import READS, WRITES, Event
from stream_engine.core.waits.interests import INTEREST, Interests
from stream_engine.shell.clients import offsets, passes
from stream_engine.shell.errors import UserError
from stream_engine.shell.halts import REPLAY, HaltedReplays
from stream_engine.shell.pauses import PAUSE, Deciding, Matching, decode
from stream_engine.shell.trouble import NoAnswerError

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
_FOLLOW_SECONDS = 0.05
"""Who takes a partition over waits for as long at most until what operators have written is read."""
# Longer than a client tries for, so that it has said by then what became of everything.
_DELIVERY_SECONDS = 40
_ACTIVE = "active"
_FORMATS = "format/"


class ControlError(UserError):
    """The control topic cannot be written or read."""


@dataclass(frozen=True)
class FirstUse:
    """Which version of the engine was the first to make use of a format."""

    engine: str


@dataclass(frozen=True)
class Active:
    """Which catalogue is in force, by its hash, and since when (milliseconds since the epoch)."""

    catalogue: str
    at: int


class Control:
    """The newest value of each key, followed as the topic grows."""

    def __init__(self, consumer: Consumer, topic: str, asker: Consumer | None = None) -> None:
        """``asker`` is asked where the topic ends; it reads nothing (see `stream_engine.shell.clients.offsets`)."""
        self._consumer = consumer
        self._asker = asker or consumer
        self._topic = topic
        self._values: dict[str, bytes] = {}
        self._requests: dict[str, tuple[int, bytes]] = {}
        self._interests: Interests | None = None
        self._offset = 0
        self._follows = False

    def read_to_end(self) -> None:
        """Read what is there now, up to an end that is captured first.

        Raises:
            ControlError: the topic cannot be read.
        """
        end = offsets(self._asker, self._topic, 0).stop
        if self._follows and self._offset >= end:
            return
        self._consumer.assign([TopicPartition(self._topic, 0, self._offset)])
        self._follows = True
        # A compacted log may lack its last records' predecessors but never its end, unless it is empty of records.
        while self._offset < end:
            if not self.poll(_POLL_SECONDS) and self._position() >= end:
                return

    def poll(self, timeout: float) -> bool:
        """Take one more record, waiting up to ``timeout`` seconds; return whether there was one."""
        if self._asker is not self._consumer:
            # It reads nothing, but tells its news only to those who poll.
            self._asker.poll(0)
        message = self._consumer.poll(timeout)
        if message is None:
            return False
        error = message.error()
        if error is not None:
            if error.fatal():
                raise ControlError(f"cannot read {self._topic}: {error.str()}")
            _log.warning("reading %s: %s", self._topic, error)
            return False
        offset, key, value = message.offset(), message.key(), message.value()
        assert offset is not None
        self._offset = offset + 1
        name = (key or b"").decode(errors="replace")
        if name.startswith(INTEREST):
            self._request(name.removeprefix(INTEREST), offset, value)
        elif value is None:
            self._values.pop(name, None)
        else:
            self._values[name] = value
        return True

    @property
    def read(self) -> int:
        """The offset behind what has been read."""
        return self._offset

    def interests(self) -> Interests:
        """Return which events are waited for, the same object as long as that does not change."""
        if self._interests is None:
            self._interests = Interests.of(self._requests)
        return self._interests

    def _request(self, name: str, offset: int, value: bytes | None) -> None:
        self._interests = None
        if value is None:
            self._requests.pop(name, None)
        else:
            self._requests[name] = offset, value

    def value(self, key: str) -> bytes | None:
        """Return the newest value of a key that has been read."""
        return self._values.get(key)

    def values(self, prefix: str) -> dict[str, bytes]:
        """Return the newest values of the keys that begin with a prefix, by the rest of the key."""
        # Taken at once: another thread may be following.
        items = list(self._values.items())
        return {key.removeprefix(prefix): value for key, value in items if key.startswith(prefix)}

    def active(self) -> Catalogue | None:
        """Return the catalogue in force, or None if no worker has published one."""
        raw = self._values.get(_ACTIVE)
        if raw is None:
            return None
        catalogue = self._values.get(_catalogue_key(msgspec.json.decode(raw, type=Active).catalogue))
        return None if catalogue is None else Catalogue.decode(catalogue)

    def check_formats(self) -> None:
        """Look at whether this engine knows all formats that workers of the app have made use of.

        Raises:
            UserError: it does not.
        """
        newest = max(map(int, self.values(_FORMATS)), default=READS)
        if newest > READS:
            first = msgspec.json.decode(self._values[f"{_FORMATS}{newest}"], type=FirstUse)
            raise UserError(
                f"the app has been served by stream-engine {first.engine}, whose records have format {newest}; this is stream-engine "
                f"{engine_version()}, which reads formats up to {READS}. Nothing is lost: serve the app with {first.engine} or a newer one"
            )

    def _position(self) -> int:
        position = self._consumer.position([TopicPartition(self._topic, 0)])[0].offset
        return position if position >= 0 else self._offset


def write_format(producer: Producer, topic: str, control: Control) -> None:
    """Have everybody know of which format this worker's records are, before there is one.

    Raises:
        ControlError: Kafka did not take it.
    """
    key = f"{_FORMATS}{WRITES}"
    if control.value(key) is None:
        write(producer, topic, {key: msgspec.json.encode(FirstUse(engine_version()))})


def publish(
    producer: Producer, topic: str, control: Control, catalogue: Catalogue, *, activate: bool, now: int
) -> None:
    """Publish a worker's catalogue, and put it in force if it is new, or if ``activate`` says so.

    One that was known before may belong to a worker of an earlier deploy that is still there, and must not undo a newer
    one; or to a deploy that was rolled back, which only its operator can tell. ``now`` is milliseconds since the epoch.

    Raises:
        ControlError: Kafka did not take it.
    """
    key = _catalogue_key(catalogue.digest)
    known, active = control.value(key) is not None, control.active()
    if not known:
        write(producer, topic, {key: catalogue.encode()})
    if active is not None and active.digest == catalogue.digest:
        return
    if known and not activate and active is not None:
        _log.warning(
            "events are routed by the functions of another deploy (%s), and not by those of this worker (%s), which an earlier "
            "deploy had; if this one takes its place, as after a rollback, start a worker with --activate",
            ", ".join(sorted(active.functions)),
            ", ".join(sorted(catalogue.functions)),
        )
        return
    write(producer, topic, {_ACTIVE: msgspec.json.encode(Active(catalogue.digest, now))})


def write(producer: Producer, topic: str, values: Mapping[str, bytes | None]) -> None:
    """Write values, or delete keys that have none any more, and return once Kafka has acknowledged it.

    Raises:
        ControlError: Kafka did not take them.
        NoAnswerError: Kafka is away; the same call may succeed later.
    """
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(error)

    for key, value in values.items():
        producer.produce(topic, value, key, 0, on_delivery=delivered)
    left = producer.flush(_DELIVERY_SECONDS)
    said = f"Kafka did not take what was to be published to {topic}"
    refused = next((error for error in failures if not passes(error)), None)
    if refused is not None:
        raise ControlError(f"{said}: {refused.str()}")
    if left or failures:
        raise NoAnswerError(f"{said}: {failures[0].str() if failures else 'no answer'}")


class ControlFollower(threading.Thread):
    """Follows the control topic, and keeps the catalogue in force at hand.

    Attributes:
        paused: the functions that are paused.
        matching: who goes by that of those that match events.
        deciding: whether the leaders do, and by the replays that are halted.
        interests: which events are waited for.
        halted: the replays of which nothing more is to begin.
    """

    def __init__(
        self,
        control: Control,
        failed: Callable[[BaseException], None],
        tell: Callable[[Mapping[str, Pause], dict[str, int]], None],
    ) -> None:
        """``tell`` is told again and again what is gone by: pauses and halted replays, when all go by them that match events, and all that decide."""
        super().__init__(name="control", daemon=True)
        self.catalogue = control.active()
        self.paused = PausedFunctions()
        self._tell = tell
        self._replays = HaltedReplays(control.values(REPLAY))
        self.halted = Halted(self._replays.halts)
        pauses = decode(control.values(PAUSE))
        self.paused.follow(pauses)
        self.matching = Matching(pauses)
        self.deciding = Deciding()
        self._control = control
        self.interests = control.interests()
        self._failed = failed
        self._stopping = threading.Event()
        self._to_catch_up: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def catch_up(self, given_up: threading.Event) -> int:
        """Wait until everything has been read that is there now; return the offset behind it. From any other thread.

        Returns earlier if that is ``given_up``, or the thread ends.
        """
        read = threading.Event()
        self.when_caught_up(read.set)
        while not read.wait(_POLL_SECONDS) and self.is_alive() and not given_up.is_set():
            continue
        return self._control.read

    def when_caught_up(self, call: Callable[[], None]) -> None:
        """Have something called, on this thread, once everything has been read that is there now. From any thread."""
        self._to_catch_up.put(call)

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()

    def match(self, event: Event, partitions: int, replay_id: str | None) -> Matched:
        """Return what an event starts by the catalogue in force."""
        if self.catalogue is None:
            return Matched([], [], [])
        matched = self.catalogue.match(event, partitions, replay_id)
        return hold_back(matched, self.paused.ids)

    def keeps_all(self, function: str) -> bool:
        """Return whether a function has a debounce that hands over every event, by the catalogue in force."""
        return self.catalogue is not None and self.catalogue.keeps_all(function)

    def values(self, prefix: str) -> dict[str, bytes]:
        """Return the newest values of the keys that begin with a prefix, by the rest of the key; for any thread."""
        return self._control.values(prefix)

    def run(self) -> None:
        """Follow, until told to stop."""
        try:
            while not self._stopping.is_set():
                if self._control.poll(_FOLLOW_SECONDS):
                    self._note()
                if self.matching.all_go_by(self.matching.pauses) and self.deciding.goes_by_all:
                    self._tell(self.matching.pauses, self._replays.since)
                if not self._to_catch_up.empty():
                    self._read_to_end()
        except UserError as error:
            self._failed(error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the thread that follows the control topic failed")
            self._failed(error)

    def _note(self) -> None:
        self._control.check_formats()
        self.catalogue = self._control.active()
        before = self.matching.pauses, self._replays.since
        pauses = decode(self._control.values(PAUSE))
        self.paused.follow(pauses)
        self.matching.pauses = pauses
        self._replays.follow(self._control.values(REPLAY))
        self.halted.follow(self._replays.halts)
        if (pauses, self._replays.since) != before:
            self.deciding.replaced()
        self.interests = self._control.interests()

    def _read_to_end(self) -> None:
        waiting = []
        while not self._to_catch_up.empty():
            waiting.append(self._to_catch_up.get())
        try:
            self._control.read_to_end()
        except KafkaException as error:
            _log.warning("the control topic cannot be read now: %s", error)
            for call in waiting:
                self._to_catch_up.put(call)
            return
        self._note()
        for call in waiting:
            call()


def engine_version() -> str:
    """Return the version of this engine, in words where it has none."""
    try:
        return version("stream-engine")
    except PackageNotFoundError:
        return "from a checkout"


def _catalogue_key(content_hash: str) -> str:
    return f"catalogue/{content_hash}"
