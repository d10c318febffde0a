"""Kafka for programs that send events and ask for results outside of a run: the SDK's `Transport`."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, Producer

from stream_engine.core.identity import partition_of
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded
from stream_engine.core.views.caused import of_another
from stream_engine.core.views.runs import RunIndex
from stream_engine.sdk.events import Message
from stream_engine.sdk.transport import ENDED, Outcome
from stream_engine.shell import clients
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Entry
from stream_engine.shell.history.reader import HistoryReader, Span, about
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating import cancelling
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import Trouble

Explain = Callable[[KafkaError], UserError]

_POLL_SECONDS = 0.1
_FOREVER = 10 * 365 * 86_400.0
_KEPT = 100_000


class SendError(UserError):
    """Kafka did not take an event."""


class KafkaTransport:
    """Sends to an app's events topic, and follows its history once a result is asked for."""

    def __init__(self, app: str, events_topic: str) -> None:
        """Connect by the settings in the environment, or to the local broker that runs.

        Raises:
            UserError: no broker is configured, and none runs.
        """
        settings = connected(Settings.from_env())
        self._topic = events_topic
        self._commands = Names.of(app).commands
        self._trouble = Trouble(settings)
        self._producer = clients.producer(settings, **self._trouble.properties)
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="stream-engine-sends", daemon=True)
        self._poller.start()
        self._results = _Results(settings, app)

    def send(self, messages: Sequence[Message]) -> "Future[list[str]]":
        """Produce messages; the future has their places, ``topic/partition/offset``, in order."""
        future: Future[list[str]] = Future()
        _Sending(self._producer, self._topic, messages, future, self._explain)
        return future

    def cancel(self, run_id: str, reason: str) -> "Future[None]":
        """Send the request to the partition that the run lives on; it says whom it is about, and is harmless when it repeats."""
        future: Future[None] = Future()

        def delivered(error: Any, _: Any) -> None:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(self._explain(error))

        value, partition = cancelling.request(run_id, reason), partition_of(run_id)
        self._producer.produce(self._commands, value, None, partition, on_delivery=delivered)
        return future

    def run_outcome(self, run_id: str, timeout: float | None) -> "Future[Outcome]":
        """Return the outcome of a run once it has ended, or what is known of it after ``timeout`` seconds."""
        return self._results.outcome(run_id, timeout)

    def partitions(self) -> "Future[int]":
        """Return how many partitions the app's internal topics have; from now on results are followed."""
        return self._results.follow()

    def close(self) -> None:
        """Send what is still buffered, and let go of everything."""
        self._producer.flush()
        self._stopping.set()
        self._poller.join()
        self._results.close()

    def _explain(self, error: KafkaError) -> UserError:
        if error.name() == "_MSG_TIMED_OUT":
            return self._trouble.no_answer(self._producer)
        return SendError(f"Kafka did not take what was sent to {self._topic} or {self._commands}: {error.str()}")

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(_POLL_SECONDS)


class _Sending:
    """Messages that were produced together, until all of them are acknowledged."""

    def __init__(
        self, producer: Producer, topic: str, messages: Sequence[Message], future: "Future[list[str]]", explain: Explain
    ) -> None:
        self._explain = explain
        self._future = future
        self._places = [""] * len(messages)
        self._left = len(messages)
        if not messages:
            future.set_result([])
        for index, message in enumerate(messages):
            while True:
                try:
                    producer.produce(
                        topic,
                        message.value,
                        message.key,
                        on_delivery=partial(self._delivered, index),
                        headers=[*message.headers],
                    )
                    break
                except BufferError:
                    # The poller makes room as Kafka acknowledges.
                    producer.poll(_POLL_SECONDS)

    def _delivered(self, index: int, error: Any, report: Any) -> None:
        if error is not None:
            if not self._future.done():
                self._future.set_exception(self._explain(error))
            return
        self._places[index] = f"{report.topic()}/{report.partition()}/{report.offset()}"
        self._left -= 1
        if not self._left and not self._future.done():
            self._future.set_result(self._places)


class _Results:
    """Follows the history from where it ended when first asked, and keeps by their names which runs have ended since, or will never be."""

    def __init__(self, settings: Settings, app: str) -> None:
        self._settings = settings
        self._app = app
        self._lock = threading.Lock()
        self._following: Future[int] | None = None
        self._ended: OrderedDict[str, Outcome] = OrderedDict()
        self._waiting: dict[str, list[Future[Outcome]]] = {}
        self._since: dict[int, int] = {}
        self._forgotten = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def follow(self) -> "Future[int]":
        """Begin to follow, if that has not begun; return the number of partitions."""
        with self._lock:
            if self._following is None:
                self._following = Future()
                self._thread = threading.Thread(target=self._run, name="stream-engine-results", daemon=True)
                self._thread.start()
            return self._following

    def outcome(self, run_id: str, timeout: float | None) -> "Future[Outcome]":
        """Return the outcome of a run once it has ended, or what is known of it after a while."""
        self.follow().result()
        future: Future[Outcome] = Future()
        with self._lock:
            known = self._ended.get(_name(run_id))
            if known is not None:
                future.set_result(known)
                return future
            self._waiting.setdefault(_name(run_id), []).append(future)
            forgotten = self._forgotten
        if forgotten:
            self._look_up(run_id, future)
        if timeout is not None and not future.done():
            timer = threading.Timer(timeout, self._give_up, (run_id, future))
            timer.daemon = True
            timer.start()
            future.add_done_callback(lambda _: timer.cancel())
        return future

    def close(self) -> None:
        """Stop following."""
        self._stopping = True
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        assert self._following is not None
        try:
            with HistoryReader(self._settings, self._app) as reader:
                partitions = reader.partitions()
                span = reader.span(partitions)
                self._since = dict(span.end)
                self._following.set_result(len(partitions))
                for batch in reader.follow(span.end, cancelling.is_end, _FOREVER):
                    self._note(batch)
                    if self._stopping:
                        return
        except UserError as error:
            if not self._following.done():
                self._following.set_exception(error)
            self._fail(error)

    def _note(self, batch: Iterable[Entry]) -> None:
        with self._lock:
            for entry in batch:
                found = _ending(self._app, entry.record)
                if found is not None:
                    name, outcome = found
                    self._ended[name] = outcome
                    for future in self._waiting.pop(name, ()):
                        _resolve(future, outcome)
            while len(self._ended) > _KEPT:
                self._ended.popitem(last=False)
                self._forgotten = True

    def _look_up(self, run_id: str, future: "Future[Outcome]") -> None:
        """Resolve the future if the run ended so long ago that it is not kept any more."""
        outcome = self._read(run_id)
        if outcome.status in ENDED:
            _resolve(future, outcome)

    def _give_up(self, run_id: str, future: "Future[Outcome]") -> None:
        try:
            outcome = self._read(run_id)
        except UserError as error:
            if not future.done():
                future.set_exception(error)
            return
        _resolve(future, outcome)

    def _read(self, run_id: str) -> Outcome:
        """Read what history says of a run since this client began to follow it."""
        partition = partition_of(run_id)
        index = RunIndex()
        with HistoryReader(self._settings, self._app) as reader:
            span = Span({partition: self._since[partition]}, reader.span([partition]).end)
            for batch in reader.read(span, about(runs=[run_id])):
                for entry in batch:
                    index.add(entry.id, entry.record)
        run = index.get(run_id)
        if run is None:
            return Outcome("queued")
        return Outcome(run.status, None if run.result is None else run.result.encode(), run.error, run.detail)

    def _fail(self, error: UserError) -> None:
        with self._lock:
            for futures in self._waiting.values():
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            self._waiting.clear()


def _resolve(future: "Future[Outcome]", outcome: Outcome) -> None:
    # Whoever waits may have given up at this very moment, and two threads may bring the same answer.
    with suppress(InvalidStateError):
        future.set_result(outcome)


def _name(run_id: str) -> str:
    return run_id.rpartition("-")[0]


def _ending(app: str, record: HistoryRecord) -> tuple[str, Outcome] | None:
    """Return the name of the run that a record says has ended, or will never be, and how."""
    ended = cancelling.ended(record)
    if ended is not None:
        return _name(ended[0]), _outcome(record, ended[1])
    taken = of_another(app, record)
    return None if taken is None else (taken[0], Outcome("cancelled", detail=taken[1]))


def _outcome(record: HistoryRecord, status: str) -> Outcome:
    if isinstance(record, RunEnded):
        result = None if record.result is None else record.result.encode()
        return Outcome(status, result, record.error, record.detail)
    if isinstance(record, EventDisposed):
        return Outcome(status, detail=record.detail or f"its event was {record.disposition}")
    return Outcome(status)
