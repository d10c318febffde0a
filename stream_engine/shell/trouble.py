"""What a client's connection suffers from, told once instead of many times a second, as librdkafka does when left alone.

A short-lived client tells it in the error that it ends with (`Trouble`), a worker now and then while it waits (`Patience`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings

ANSWER_SECONDS: Final = 10.0
"""How long a client waits for an answer before it gives up."""

_log = logging.getLogger(__name__)
_SAY_EVERY_SECONDS: Final = 30.0
_CRITICAL: Final = 2  # as syslog counts


class NoAnswerError(UserError):
    """Kafka does not answer; the message says where it was asked, what went wrong, and what to look at."""


class Trouble:
    """Gathers the first thing that goes wrong with one client, which is made with `properties`."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.bootstrap_servers
        self._first = ""

    @property
    def properties(self) -> dict[str, Any]:
        """The properties that make a client tell this object about errors, and print none."""
        return {"log_level": _CRITICAL, "error_cb": self._note}

    def no_answer(self, client: Consumer | Producer, error: KafkaException | None = None) -> NoAnswerError:
        """Return the error to end with, after a call of the client has failed or nothing has come for long."""
        # What went wrong with a connection is told only to those who ask the client for news.
        client.poll(0)
        why = self._first or ("nothing came" if error is None else error.args[0].str())
        return NoAnswerError(
            f"Kafka at {self._address} does not answer: {why}; is the broker up, and the address right?"
        )

    def _note(self, error: KafkaError) -> None:
        self._first = self._first or error.str()


class Patience:
    """Says, for all clients of a worker together, that Kafka does not answer; the clients themselves try again for ever."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.bootstrap_servers
        self._quiet_until = 0.0

    @property
    def properties(self) -> dict[str, Any]:
        """The properties that make a client tell this object about errors, and print none."""
        return {"log_level": _CRITICAL, "error_cb": self._note}

    def _note(self, error: KafkaError) -> None:
        now = monotonic()
        if now > self._quiet_until:
            self._quiet_until = now + _SAY_EVERY_SECONDS
            _log.warning("Kafka at %s has trouble: %s; the worker waits for it", self._address, error.str())


@contextmanager
def answering(settings: Settings) -> Iterator[None]:
    """Have what fails of Kafka at a worker's start told as what its operator can look at.

    Raises:
        UserError: Kafka does not answer, or refuses.
    """
    try:
        yield
    except KafkaException as error:
        raise UserError(
            f"Kafka at {settings.bootstrap_servers} does not answer: {error.args[0].str()}; is it up, and the address right?"
        ) from error


def why(failure: BaseException) -> str:
    """Return what made a worker unable to go on, in words."""
    if isinstance(failure, KafkaException):
        error = failure.args[0]
        if error.name() in {"_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_OR_PART"}:
            return f"a topic of the app is gone ({error.str()}); `stream-engine doctor` says which, `topics apply` creates it"
        return str(error.str())
    return str(failure)
