"""The thread that notices when a client of Kafka has lost its brokers for good.

A broker that has been fenced for a moment, as one that stood still for some seconds is, answers that there are no brokers at all. A client that hears so forgets all that it
knows, and may ask nobody any more from then on (librdkafka#5301), although Kafka is there for everybody else: a worker would look alive, and lead nothing.
Nothing tells it so, and no client can be given brokers anew. So each is asked now and then for what any broker answers; where one has failed for long while a new client gets its answer
each time, the worker ends, to be started again.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from confluent_kafka import KafkaException

from stream_engine.shell.errors import UserError

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 5.0
_STRANDED_LOOKS: Final = 7
"""How often in a row a client has to fail where a new one does not."""
_NOBODY: Final = frozenset({"_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN"})


class Client(Protocol):
    """Any client of Kafka: whatever it is for, it can be asked for metadata, from any thread as long as it is not closed."""

    def list_topics(self, topic: str, timeout: float) -> object:
        """Ask some broker about a topic."""


class Stranded(threading.Thread):
    """Asks the clients of a worker, which are given by what they are for, and a new one that ``connect`` makes."""

    def __init__(
        self,
        own: Mapping[str, Client],
        connect: Callable[[], Client],
        topic: str,
        failed: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name="stranded", daemon=True)
        self._own = own
        self._connect = connect
        self._topic = topic
        self._failed = failed
        self._failures = dict.fromkeys(own, 0)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the thread, before any of the clients is closed."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Ask, until told to stop or until there is something to tell."""
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self.look()
            except UserError as error:
                self._failed(error)
                return

    def look(self) -> None:
        """Ask all clients once.

        Raises:
            UserError: one of them has failed for long, and only that one.
        """
        silent = [name for name, client in self._own.items() if not self._answers(client)]
        is_there = not silent or self._answers(self._connect())
        for name in self._own:
            self._failures[name] = self._failures[name] + 1 if is_there and name in silent else 0
        lost = [name for name, failures in self._failures.items() if failures >= _STRANDED_LOOKS]
        if lost:
            raise UserError(
                f"Kafka answers, but not to this worker's clients for {' and '.join(lost)}: they have lost all brokers for good, as librdkafka's may "
                "when the only broker they know has been fenced (librdkafka#5301); start the worker again"
            )

    def _answers(self, client: Client) -> bool:
        if self._stopping.is_set():
            return True
        try:
            client.list_topics(self._topic, timeout=_ANSWER_SECONDS)
        except KafkaException as error:
            return error.args[0].name() not in _NOBODY
        return True
