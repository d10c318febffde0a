"""Kafka for programs that send events and ask for results outside of a run: the SDK's `Transport`."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, Producer

from stream_engine.core.identity import partition_of
from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted
from stream_engine.core.views.answers import ANSWERING, Answers, answers, name_of
from stream_engine.core.views.runs import RunIndex
from stream_engine.sdk.events import Message
from stream_engine.sdk.transport import ENDED, Outcome, settle_cancel
from stream_engine.shell import clients
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Entry, prefix
from stream_engine.shell.history.reader import HistoryReader, Span, about
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating import cancelling
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import Trouble

Explain = Callable[[KafkaError], UserError]

_POLL_SECONDS = 0.1
_FOREVER = 10 * 365 * 86_400.0
_ANSWERING = tuple(word.encode() for word in sorted(ANSWERING))
_TAKING_OUT = (b"cancelled",)


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
        self._connect = partial(clients.producer, settings, **self._trouble.properties)
        self._producer = self._connect()
        self._retired: list[Producer] = []
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="stream-engine-sends", daemon=True)
        self._poller.start()
        self._results = _Results(settings, app, events_topic)

    def send(self, messages: Sequence[Message]) -> "Future[list[str]]":
        """Produce messages; the future has their places, ``topic/partition/offset``, in order."""
        future: Future[list[str]] = Future()
        producer = self._producer
        _Sending(producer, self._topic, messages, future, partial(self._explain, producer))
        return future

    def cancel(self, run_id: str, reason: str) -> "Future[None]":
        """Send the request to the partition that the run lives on; it says whom it is about, and is harmless when it repeats."""
        future: Future[None] = Future()
        if self._results.settle_cancel(run_id, future):
            return future

        producer = self._producer

        def delivered(error: Any, _: Any) -> None:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(self._explain(producer, error))

        value, partition = cancelling.request(run_id, reason), partition_of(run_id)
        producer.produce(self._commands, value, None, partition, on_delivery=delivered)
        return future

    def run_outcome(self, run_id: str, timeout: float | None) -> "Future[Outcome]":
        """Return the outcome of a run once it has ended, or what is known of it after ``timeout`` seconds."""
        return self._results.outcome(run_id, timeout)

    def partitions(self) -> "Future[int]":
        """Return how many partitions the app's internal topics have; from now on results are followed."""
        return self._results.follow()

    def close(self) -> None:
        """Send what is still buffered, and let go of everything."""
        for producer in (*self._retired, self._producer):
            producer.flush()
        self._stopping.set()
        self._poller.join()
        self._results.close()

    def _explain(self, producer: Producer, error: KafkaError) -> UserError:
        if error.name() == "_MSG_TIMED_OUT":
            if producer is self._producer:
                # It may have lost all brokers for good (`stream_engine.shell.stranded`); another one begins anew, while this one goes on with what it has.
                self._retired.append(producer)
                self._producer = self._connect()
            return self._trouble.no_answer(producer)
        return SendError(f"Kafka did not take what was sent to {self._topic} or {self._commands}: {error.str()}")

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(_POLL_SECONDS)
            for producer in [*self._retired]:
                producer.poll(0)
                if not len(producer):
                    self._retired.remove(producer)


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

    def __init__(self, settings: Settings, app: str, events_topic: str) -> None:
        self._settings = settings
        self._app = app
        self._topic = events_topic
        self._lock = threading.Lock()
        self._following: Future[int] | None = None
        self._answers = Answers(app, events_topic)
        self._waiting: dict[str, list[Future[Outcome]]] = {}
        self._since: dict[int, int] = {}
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
            known = self._answers.get(run_id)
            if known is not None and known.is_final:
                future.set_result(Outcome.of(known))
                return future
            self._waiting.setdefault(name_of(run_id), []).append(future)
            forgotten = self._answers.has_forgotten
        if forgotten:
            self._look_up(run_id, future)
        if timeout is not None and not future.done():
            timer = threading.Timer(timeout, self._give_up, (run_id, future))
            timer.daemon = True
            timer.start()
            future.add_done_callback(lambda _: timer.cancel())
        return future

    def settle_cancel(self, run_id: str, request: "Future[None]") -> bool:
        """Settle a request to cancel a run where nothing is to be asked for; return whether it is settled."""
        with self._lock:
            return settle_cancel(self._answers, run_id, request)

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
                for batch in reader.follow(span.end, lambda _, value: _may_answer(value), _FOREVER):
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
                for name, answer in self._answers.add(entry.record):
                    for future in self._waiting.pop(name, ()):
                        _resolve(future, Outcome.of(answer))

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
        partition, name = partition_of(run_id), name_of(run_id)
        index, known, of_run = RunIndex(), None, about(runs=[run_id])
        # What has not been forgotten is known but for what was told in this very moment, of which only this would contradict the run.
        of_event = _may_answer if self._answers.has_forgotten else _may_take_out
        with HistoryReader(self._settings, self._app) as reader:
            span = Span({partition: self._since[partition]}, reader.span([partition]).end)
            for batch in reader.read(span, lambda key, value: of_run(key, value) or of_event(value)):
                for entry in batch:
                    index.add(entry.id, entry.record)
                    for other, answer in answers(self._app, self._topic, entry.record):
                        known = answer.beside(known) if other == name else known
        return Outcome.of(known or index.get(run_id))

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


def _may_answer(value: bytes) -> bool:
    """Return whether a record of the history topic may be one that `answers` makes something of."""
    return value.startswith((prefix(RunEnded), prefix(RunStarted))) or _is_disposed(value, _ANSWERING)


def _may_take_out(value: bytes) -> bool:
    """Return whether a record may tell that an event was taken out of the batch that its run is called by."""
    return _is_disposed(value, _TAKING_OUT)


def _is_disposed(value: bytes, marks: Iterable[bytes]) -> bool:
    return value.startswith(prefix(EventDisposed)) and any(mark in value for mark in marks)
