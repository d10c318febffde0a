"""Which apps there are: those whose topics exist."""

from confluent_kafka import KafkaException

from stream_engine.shell import clients
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble

_HISTORY = Names.of("").history


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
    candidates = (topic.removesuffix(_HISTORY) for topic in topics if topic.endswith(_HISTORY))
    # Another system's topic may well be named "something.history".
    return sorted(app for app in candidates if app and Names.of(app).commands in topics)
