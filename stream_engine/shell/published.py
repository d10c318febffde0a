"""What the workers of an app have published, for those who are no worker: its functions, and how its history is written."""

import functools
import logging

from confluent_kafka import KafkaException

from stream_engine.core.catalogue import Catalogue
from stream_engine.shell import clients
from stream_engine.shell.control import Control, ControlError
from stream_engine.shell.history.schemas import PUBLISHED
from stream_engine.shell.settings import Settings

_log = logging.getLogger(__name__)


class Published:
    """The control topic as it is when something of it is first asked for; what cannot be read is not there."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic

    def schema(self, fingerprint: str) -> str | None:
        """Return the text of a schema by its fingerprint in hexadecimal, or None if nobody has published it."""
        text = self._control.value(PUBLISHED + fingerprint)
        return None if text is None else text.decode(errors="replace")

    def functions(self) -> list[str] | None:
        """Return the ids of the functions in force, in order, or None if no worker has published any."""
        catalogue = self.catalogue()
        return None if catalogue is None else sorted(catalogue.functions)

    def catalogue(self) -> Catalogue | None:
        """Return the catalogue of functions in force, or None if no worker has published any."""
        return self._control.active()

    @functools.cached_property
    def _control(self) -> Control:
        consumer = clients.reader(self._settings)
        control = Control(consumer, self._topic)
        try:
            control.read_to_end()
        except (ControlError, KafkaException) as error:
            _log.warning("%s cannot be read: %s", self._topic, error)
        finally:
            consumer.close()
        return control
