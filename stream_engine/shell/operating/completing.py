"""Completing callbacks from outside of their workers: who has a token sends a command, and history says what became of it.

History is followed from before the first command is sent, by one thread for all that wait, and for a while after the last one.
"""

import threading
import uuid
from collections.abc import Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from confluent_kafka import Producer

from stream_engine.core.identity import partition_of
from stream_engine.core.records.history import CompletionDisposed
from stream_engine.core.records.journal import WRITES, encode
from stream_engine.core.records.requests import Commands, CompleteCallback
from stream_engine.core.routing.callback_event import ANOTHER_APP, FORGED, UNREADABLE
from stream_engine.core.routing.callback_token import Named, is_genuine, read
from stream_engine.core.routing.receive import MAX_BYTES
from stream_engine.core.stages.callbacks import COMPLETED
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Entry, prefix
from stream_engine.shell.history.reader import HistoryReader
from stream_engine.shell.published import Published
from stream_engine.shell.secret import secret_of
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import Trouble

TOO_LARGE: Final = "too-large"

_QUIET_SECONDS: Final = 10.0
_FOREVER: Final = 10 * 365 * 86_400.0


class UnconfirmedError(UserError):
    """Nothing has said in time what became of a completion; it may count yet."""


class Outcome(NamedTuple):
    """What became of a completion: ``completed``, or the reason why it was refused, with a sentence; what its token names, if it is genuine."""

    disposition: str
    detail: str = ""
    named: Named | None = None

    @property
    def completed(self) -> bool:
        """Whether it is what the callback has been completed with."""
        return self.disposition == COMPLETED


class Completing:
    """Completes callbacks of an app, or without ``app``, of all apps of a Kafka. May be used by several threads. Use it in a ``with``."""

    def __init__(self, settings: Settings, app: str | None = None) -> None:
        """Prepare; nothing is connected before something is completed."""
        self._settings = settings
        self._app = app
        self._lock = threading.Lock()
        self._trouble = Trouble(settings)
        self._producer: Producer | None = None
        self._secrets: dict[str, bytes] = {}
        self._followers: dict[str, _Follower] = {}

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop following."""
        for follower in self._followers.values():
            follower.stop()

    def complete(self, token: str, data: bytes, by: str, seconds: float) -> Outcome:
        """Complete the callback that a token names with ``data`` (JSON); return what became of that, within about so many seconds.

        Raises:
            UnconfirmedError: nothing has said so in time.
            UserError: Kafka refuses, or does not answer.
        """
        deadline = monotonic() + seconds
        if len(data) > MAX_BYTES:
            return Outcome(TOO_LARGE, f"the data has {len(data):,} bytes; the limit is {MAX_BYTES:,}")
        named = read(token)
        if named is None:
            return Outcome(FORGED, UNREADABLE)
        refused = self._refusal(named, token)
        if refused is not None:
            return refused
        command = CompleteCallback(named.run_id, named.step_id, data, uuid.uuid4().hex, by, at=now_ms())
        told = self._expect(named.app, command.completion_id, deadline)
        self._send(Names.of(named.app).commands, command, told, deadline)
        try:
            record = told.result(max(deadline - monotonic(), 0))
        except TimeoutError:
            told.cancel()
            raise UnconfirmedError(
                f"no worker of app {named.app!r} has said within {seconds:g} s what became of it. Kafka has the completion, and it counts "
                f"once a worker leads the partition of run {named.run_id}, unless another one came first, or the time was over when it was sent"
            ) from None
        return Outcome(record.disposition, record.detail, named)

    def _refusal(self, named: Named, token: str) -> Outcome | None:
        app = named.app
        if self._app not in (None, app):
            return Outcome(
                ANOTHER_APP,
                f"the token names app {app!r}, and only callbacks of app {self._app!r} are completed here: complete it at a worker of "
                f"{app!r}, or by stream-engine callbacks complete",
            )
        at = self._settings.bootstrap_servers
        secret = self._secrets.get(app)
        if secret is None:
            secret = secret_of(Published(self._settings, Names.of(app).control).control.values)
            if secret is None:
                return Outcome(
                    FORGED,
                    f"the token names app {app!r}, which has given out none at {at}: complete it where that app runs, unless it is forged",
                )
            self._secrets[app] = secret
        if is_genuine(secret, token):
            return None
        return Outcome(
            FORGED,
            f"the token is none that app {app!r} at {at} has given out: it is forged, or not all of it is there",
        )

    def _expect(self, app: str, completion_id: str, deadline: float) -> "Future[CompletionDisposed]":
        while True:
            with self._lock:
                follower = self._followers.get(app)
                if follower is None:
                    follower = self._followers[app] = _Follower(self._settings, app)
                    follower.start()
            told = follower.expect(completion_id, deadline)
            if told is not None:
                return told
            with self._lock:
                if self._followers.get(app) is follower:
                    del self._followers[app]

    def _send(self, topic: str, command: CompleteCallback, told: "Future[CompletionDisposed]", deadline: float) -> None:
        with self._lock:
            if self._producer is None:
                self._producer = clients.producer(self._settings, **self._trouble.properties)
            producer = self._producer

        taken = False

        def delivered(error: Any, _: Any) -> None:
            nonlocal taken
            taken = True
            if error is not None:
                _settle(told, UserError(f"Kafka did not take the completion for {topic}: {error.str()}"))

        value = encode(Commands("", None, [(0, command)], WRITES))
        producer.produce(topic, value, None, partition_of(command.run_id), on_delivery=delivered)
        producer.flush(max(deadline - monotonic(), 0))
        if not taken:
            told.cancel()
            raise UnconfirmedError(
                f"Kafka has not acknowledged the completion in time: {self._trouble.no_answer(producer)}"
            )


class _Follower(threading.Thread):
    """Follows the history of an app for those who wait for their completions, until nobody does for a while."""

    def __init__(self, settings: Settings, app: str) -> None:
        super().__init__(name="callbacks", daemon=True)
        self._settings = settings
        self._app = app
        self._lock = threading.Lock()
        self._begun: Future[None] = Future()
        self._waiting: dict[str, Future[CompletionDisposed]] = {}
        self._stopping = False
        self._over = False

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self.join()

    def expect(self, completion_id: str, deadline: float) -> "Future[CompletionDisposed] | None":
        """Return what will be told of a completion that is about to be sent; None if this follows no longer.

        Raises:
            UserError: history cannot be followed.
        """
        told: Future[CompletionDisposed] = Future()
        with self._lock:
            if self._over:
                return None
            self._waiting[completion_id] = told
        told.add_done_callback(partial(self._forget, completion_id))
        try:
            self._begun.result(max(deadline - monotonic(), 0))
        except TimeoutError:
            told.cancel()
            raise UnconfirmedError(
                f"the history of app {self._app!r} could not be read in time; the completion has not been sent"
            ) from None
        return told

    def run(self) -> None:
        """Follow."""
        try:
            with HistoryReader(self._settings, self._app) as reader:
                end = reader.span(reader.partitions()).end
                self._begun.set_result(None)
                quiet_since = monotonic()
                for batch in reader.follow(end, _is_disposed, _FOREVER):
                    self._note(batch)
                    with self._lock:
                        if self._waiting:
                            quiet_since = monotonic()
                        if self._stopping or monotonic() > quiet_since + _QUIET_SECONDS:
                            self._over = True
                            return
        except UserError as error:
            with self._lock:
                self._over = True
                waiting = list(self._waiting.values())
            if not self._begun.done():
                self._begun.set_exception(error)
            for told in waiting:
                _settle(told, error)

    def _note(self, batch: Iterable[Entry]) -> None:
        for entry in batch:
            record = entry.record
            assert isinstance(record, CompletionDisposed)
            told = self._waiting.get(record.completion_id)
            if told is not None:
                _settle(told, record)

    def _forget(self, completion_id: str, _: object) -> None:
        with self._lock:
            self._waiting.pop(completion_id, None)


def _is_disposed(_: bytes, value: bytes) -> bool:
    return value.startswith(prefix(CompletionDisposed))


def _settle(told: "Future[CompletionDisposed]", outcome: CompletionDisposed | UserError) -> None:
    # Whoever waits may have given up at this very moment, and history may be told twice.
    with suppress(InvalidStateError):
        if isinstance(outcome, UserError):
            told.set_exception(outcome)
        else:
            told.set_result(outcome)
