"""What the workers of an app have published, for those who are no worker: its functions, and how its history is written."""

import functools

from confluent_kafka import KafkaException

from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.shell import clients
from stream_engine.shell.control import Control
from stream_engine.shell.history.schemas import PUBLISHED
from stream_engine.shell.settings import Settings
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble


class Published:
    """The control topic as it is when something of it is first asked for; one that does not exist has nothing in it.

    Every question raises `NoAnswerError` if Kafka does not answer, and `ControlError` if it refuses.
    """

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic

    def schema(self, fingerprint: str) -> str | None:
        """Return the text of a schema by its fingerprint in hexadecimal, or None if nobody has published it."""
        text = self.control.value(PUBLISHED + fingerprint)
        return None if text is None else text.decode(errors="replace")

    def functions(self) -> list[str] | None:
        """Return the ids of the functions in force, in order, or None if no worker has published any."""
        catalogue = self.catalogue()
        return None if catalogue is None else sorted(catalogue.functions)

    def catalogue(self) -> Catalogue | None:
        """Return the catalogue of functions in force, or None if no worker has published any."""
        return self.control.active()

    @functools.cached_property
    def control(self) -> Control:
        """All of it."""
        trouble = Trouble(self._settings)
        consumer = clients.reader(self._settings, **trouble.properties)
        control = Control(consumer, self._topic)
        try:
            if self._topic in consumer.list_topics(timeout=ANSWER_SECONDS).topics:
                control.read_to_end()
        except KafkaException as error:
            raise trouble.no_answer(consumer, error) from error
        finally:
            consumer.close()
        return control
