"""The thread that notices what a running worker's clients do not tell: a topic that has been replaced by another of the same name, and a client that has lost all brokers for good."""

import threading
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream_engine.core.records.origin import Logs
from stream_engine.shell import topics
from stream_engine.shell.clock import monotonic
from stream_engine.shell.deployment import Deployment, compare
from stream_engine.shell.errors import UserError
from stream_engine.shell.stranded import Stranded
from stream_engine.shell.topics import Names

_LOOK_SECONDS = 5.0
_GONE_LOOKS = 3
"""How often in a row a topic has to be missed: one that is created again is gone for a moment."""


class Watch(threading.Thread):
    """Looks at the topics now and then, because Kafka's clients go on reading and writing a topic by its name."""

    def __init__(
        self,
        connect: Callable[[], AdminClient],
        deployment: Deployment,
        stranded: Stranded,
        failed: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._connect = connect
        self._admin = connect()
        self._deployment = deployment
        self._stranded = stranded
        self._failed = failed
        self._stopping = threading.Event()
        self._missed = 0
        self._answered_at = monotonic()

    @property
    def unanswered(self) -> float:
        """For how many seconds Kafka has not answered."""
        return monotonic() - self._answered_at

    def logs(self) -> Logs:
        """Return which logs of the app there are now; from any thread.

        Raises:
            TopicError: one of them does not exist, or Kafka does not answer.
        """
        return topics.logs(self._admin, self._deployment.names, self._deployment.logs.cluster)

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Look, until told to stop or until there is something to tell."""
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self._look()
                self._answered_at = monotonic()
            except (KafkaException, topics.TopicError):
                # Whoever needs Kafka tells about it; a topic that is back is looked at again, by a client that has not lost its brokers for good.
                self._admin = self._connect()
            except UserError as error:
                self._failed(error)
                return

    def _look(self) -> None:
        names, known = self._deployment.names, self._deployment.logs
        if self._misses(names):
            return
        compare(names, known, self.logs())
        if topics.topic_id(self._admin, names.state) != self._deployment.state_id:
            raise UserError(
                f"the topic {names.state} was created again, and the snapshots that were in it are gone: what workers have on their disks is all there is of "
                "the state. Start the worker again with its disk, and it writes them anew"
            )
        for topic, topic_id in self._deployment.routed:
            if topics.topic_id(self._admin, topic) != topic_id:
                raise UserError(
                    f"the topic {topic} was created again while the worker ran; start the worker again, and it begins with the "
                    "first event of the new one"
                )

        if lost := self._stranded.lost():
            raise UserError(
                f"Kafka answers, but not these of the worker's clients: {', '.join(lost)}; they have lost all brokers for good, as librdkafka's may where the only broker was "
                "fenced for a moment (librdkafka#5301). Start the worker again"
            )

    def _misses(self, names: Names) -> bool:
        """Return whether a topic of the app is not there.

        Raises:
            UserError: it has been gone for a while.
        """
        there = topics.partition_counts(self._admin)
        gone = [
            topic.name for topic in topics.wanted(names, self._deployment.logs.partitions) if topic.name not in there
        ]
        self._missed = self._missed + 1 if gone else 0
        if self._missed >= _GONE_LOOKS:
            raise UserError(
                f"{' and '.join(gone)}: deleted while the worker ran; the worker cannot go on without it. What was in it is lost: start the worker "
                "again, and it creates it anew, or says why it cannot"
            )
        return bool(gone)
