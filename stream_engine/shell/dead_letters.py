"""`<app>.dead-letters`: the messages that nothing could be made of, each with its reason and where it came from."""

from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import KafkaException, Message, TopicPartition

from stream_engine.core.views.caused import Place
from stream_engine.shell import clients
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble

_BATCH = 1_000


class DeadLetter(NamedTuple):
    """A message that cannot be used: a stable code, a sentence for people, and where it came from.

    ``function`` is the one whose part it is, where others could use the message.
    """

    reason: str
    detail: str
    origin: Place
    function: str = ""


class DeadLetterReader:
    """Takes what is buried from the moment on at which it was made. Close it, or use it in a ``with``."""

    def __init__(self, settings: Settings, app: str) -> None:
        """Begin at the end of the topic.

        Raises:
            NoAnswerError: Kafka does not answer.
        """
        topic = Names.of(app).dead_letters
        trouble = Trouble(settings)
        self._consumer = clients.reader(settings, **trouble.properties)
        try:
            partitions = self._consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic].partitions
            self._consumer.assign(
                [TopicPartition(topic, p, clients.offsets(self._consumer, topic, p).stop) for p in partitions]
            )
        except KafkaException as error:
            failure = trouble.no_answer(self._consumer, error)
            self.close()
            raise failure from error

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the reader."""
        self.close()

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def take(self) -> list[DeadLetter]:
        """Return what has arrived since it was last asked for, without waiting."""
        return [letter_of(message) for message in self._consumer.consume(_BATCH, 0) if message.error() is None]


def letter_of(message: Message) -> DeadLetter:
    """Return the letter that a message of the topic is."""
    texts = {name: (value or b"").decode(errors="replace") for name, value in clients.headers(message)}

    def number(name: str) -> int:
        text = texts.get(name, "")
        return int(text) if text.isdecimal() else -1

    origin = Place(texts.get("topic", ""), number("partition"), number("offset"))
    return DeadLetter(texts.get("reason", ""), texts.get("detail", ""), origin, texts.get("function", ""))
