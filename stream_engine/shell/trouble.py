"""What a short-lived client's connection suffers from: told once, in the error that it ends with.

Left alone, librdkafka prints a line on stderr for each of its attempts to connect, many a second.
"""

from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException

from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings

ANSWER_SECONDS: Final = 10.0
"""How long a client waits for an answer before it gives up."""

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

    def no_answer(self, consumer: Consumer, error: KafkaException | None = None) -> NoAnswerError:
        """Return the error to end with, after a call of the client has failed or nothing has come for long."""
        # What went wrong with a connection is told only to those who ask the client for news.
        consumer.poll(0)
        why = self._first or ("nothing came" if error is None else error.args[0].str())
        return NoAnswerError(
            f"Kafka at {self._address} does not answer: {why}; is the broker up, and the address right?"
        )

    def _note(self, error: KafkaError) -> None:
        self._first = self._first or error.str()
