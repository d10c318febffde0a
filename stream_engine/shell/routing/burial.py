"""Buries messages that nothing can be made of: each once, however many believe at a time that it is theirs to route."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, Self

from confluent_kafka import Consumer, KafkaException, Producer

from stream_engine.core.routing.dead_letter import content
from stream_engine.core.routing.route import DeadLetter
from stream_engine.core.views.caused import Place
from stream_engine.shell import clients
from stream_engine.shell.dead_letters import letter_of
from stream_engine.shell.reading import TO_THE_END, read, spans_since
from stream_engine.shell.trouble import ANSWER_SECONDS

_log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.05
_LEAVE_SECONDS: Final = 5.0
# Others are routed meanwhile: whoever could not begin tries again.
_PATIENCE_SECONDS: Final = 2.0
# The broker that stored a message and the worker that buried it may differ by as much in what time it is.
_SKEW_MS: Final = 60_000
_ROOM: Final = clients.MAX_RECORD_BYTES - 4 * 1024
_ID: Final = "transactional.id"
_TRANSACTION: Final = {"transaction.timeout.ms": 10_000, "delivery.timeout.ms": 10_000}
_ALL: Final = {"isolation.level": "read_uncommitted"}


class Grave(NamedTuple):
    """What has been buried: a message, or a function's part of it."""

    origin: Place
    function: str = ""


@dataclass(frozen=True)
class Graveyard:
    """Where dead letters go to. ``owner`` is the group of those who route, ``read`` and ``produce`` make clients with properties."""

    topic: str
    owner: str
    read: Callable[..., Consumer]
    produce: Callable[..., Producer]

    def of_replay(self, replay_id: str) -> Self:
        """Return the same for those who route a replay."""
        return replace(self, owner=f"{self.owner}/{replay_id}")

    def producer(self, events: str, partition: int) -> Producer:
        """Return the producer of a partition's dead letters; nobody else's of it does anything from here on.

        Raises:
            KafkaException: Kafka does not answer, or does not want it.
        """
        producer = self.produce(**{_ID: f"{self.owner}/{events}/{partition}"}, **_TRANSACTION)
        producer.init_transactions(ANSWER_SECONDS)
        return producer

    def since(self, at: int, events: str, partition: int) -> frozenset[Grave]:
        """Return what has been buried of a partition since a time (milliseconds since the epoch).

        Raises:
            KafkaException: Kafka does not answer.
            TimeoutError: somebody's transaction is not over yet.
        """
        consumer = self.read(**TO_THE_END)
        try:
            letters = map(letter_of, read(consumer, self.topic, self._spans(at), _PATIENCE_SECONDS))
            graves = (Grave(letter.origin, letter.function) for letter in letters)
            return frozenset(grave for grave in graves if grave.origin[:2] == (events, partition))
        finally:
            consumer.close()

    def _spans(self, at: int) -> dict[int, range]:
        """Return from where to where each partition has something so young, transactions included that are not over."""
        consumer = self.read(**_ALL)
        try:
            numbers = consumer.list_topics(self.topic, timeout=ANSWER_SECONDS).topics[self.topic].partitions
            return spans_since(consumer, self.topic, numbers, at - _SKEW_MS)
        finally:
            consumer.close()


class Burial:
    """Buries the dead letters of one partition of a topic, for one who routes it.

    What comes twice to a leader is passed over, and nobody does so with dead letters: a process that has stood still may have been
    replaced, and goes on with what it had under way before it hears of that. So they are written in transactions of the partition's own id: whoever
    begins ends the transaction that another has open, shuts it out, and reads then what has been buried.
    """

    def __init__(self, graveyard: Graveyard, events: str, partition: int, *, stamped: bool = True) -> None:
        """``stamped`` says that the broker has stamped the messages: nothing of them has been buried before that."""
        self._stamped = stamped
        self._graveyard = graveyard
        self._events = events
        self._partition = partition
        self._producer: Producer | None = None
        self._buried: frozenset[Grave] = frozenset()
        self._over = False

    def bury(self, letters: Sequence[DeadLetter]) -> bool:
        """Bury what has not been buried; return whether all of it is in Kafka. If not, go on with another object, from what is acknowledged."""
        if self._over:
            return False
        try:
            self._bury(letters)
        except TimeoutError:
            self._refused("somebody's transaction is not over yet")
        except KafkaException as error:
            self._refused(error.args[0].str())
        return not self._over

    def _refused(self, why: str) -> None:
        self._over = True
        _log.warning(
            "%s/%d: dead letters cannot be written to %s: %s; what comes after them waits, and it is tried again",
            *(self._events, self._partition, self._graveyard.topic, why),
        )

    def _bury(self, letters: Sequence[DeadLetter]) -> None:
        if self._producer is None:
            producer = self._graveyard.producer(self._events, self._partition)
            at = letters[0].message.timestamp if self._stamped else 0
            self._buried = self._graveyard.since(at, self._events, self._partition)
            self._producer = producer
        left = [letter for letter in letters if not self._is_buried(letter)]
        if not left:
            return
        self._producer.begin_transaction()
        for letter in left:
            key, value, headers = content(letter.message, letter.rejection, letter.function, _ROOM)
            _produce(self._producer, self._graveyard.topic, value, key, headers=headers)
        self._producer.commit_transaction(ANSWER_SECONDS)
        for letter in left:
            _say(letter, self._graveyard.topic)

    def _is_buried(self, letter: DeadLetter) -> bool:
        message = letter.message
        place = Place(message.topic, message.partition, message.offset)
        # What was buried as a whole has no parts that could be buried besides.
        return not self._buried.isdisjoint({Grave(place, letter.function), Grave(place)})


class _Job(NamedTuple):
    burial: Burial
    letters: Sequence[DeadLetter]
    done: Callable[[bool], None]


class Undertaker(threading.Thread):
    """Buries beside a thread that routes, so that no event waits for the transactions of dead letters."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        super().__init__(name="burying", daemon=True)
        self._failed = failed
        self._jobs = SimpleQueue[_Job | None]()
        self._ended = SimpleQueue[tuple[_Job, bool]]()

    def bury(self, burial: Burial, letters: Sequence[DeadLetter], done: Callable[[bool], None]) -> None:
        """Have letters buried; `report` calls ``done`` with what `Burial.bury` has returned."""
        self._jobs.put(_Job(burial, letters, done))

    def report(self) -> None:
        """Tell what has been done since the last call."""
        while not self._ended.empty():
            job, buried = self._ended.get()
            job.done(buried)

    def stop(self) -> None:
        """Finish, unless Kafka does not answer, and tell."""
        self._jobs.put(None)
        self.join(_LEAVE_SECONDS)
        self.report()

    def run(self) -> None:
        """Bury, until told to stop."""
        try:
            while (job := self._jobs.get()) is not None:
                self._ended.put((job, job.burial.bury(job.letters)))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the thread that buries dead letters failed")
            self._failed(error)


def _produce(producer: Producer, *args: Any, **properties: Any) -> None:
    """Produce a message, as soon as there is room for it."""
    while True:
        try:
            producer.produce(*args, **properties)
        except BufferError:
            producer.poll(_POLL_SECONDS)
        else:
            return


def _say(letter: DeadLetter, topic: str) -> None:
    message, function = letter.message, letter.function
    _log.warning(
        "%s/%d: offset %d %s and goes to %s: %s",
        *(message.topic, message.partition, message.offset),
        f"is of no use to {function}" if function else "is no event",
        *(topic, letter.rejection.detail),
    )
