"""Which apps there are: those whose topics exist."""

from collections.abc import Iterable

from confluent_kafka import KafkaException

from stream_engine.shell import clients
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble

_OWN = Names.of("")
_SUFFIXES = (_OWN.commands, _OWN.journal, _OWN.control)
"""What the names of an app's topics end in that hold what cannot be had again.

Any of them says that there is an app: one that has lost some of its topics is the one that somebody looks for.
"""


def apps(settings: Settings) -> list[str]:
    """Return the names of the apps on a broker, in order.

    Raises:
        UserError: no broker is configured, or it does not answer.
    """
    trouble = Trouble(settings)
    consumer = clients.reader(settings, **trouble.properties)
    try:
        topics = consumer.list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise trouble.no_answer(consumer, error) from error
    finally:
        consumer.close()
    return named_by(topics)


def named_by(topics: Iterable[str]) -> list[str]:
    """Return the names of the apps that these topics belong to, in order."""
    return sorted({topic[: -len(end)] for topic in topics for end in _SUFFIXES if topic.endswith(end)} - {""})
