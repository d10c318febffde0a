"""The thread that finds out of which partitions this worker is to keep a warm copy."""

import logging
import threading
from collections.abc import Callable

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from stream_engine.core.standby import followed

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0
_ANSWER_SECONDS = 10


class Standbys(threading.Thread):
    """Looks at the group of the leaders now and then, and has ``follow`` called with the partitions to keep a copy of."""

    def __init__(
        self,
        admin: AdminClient,
        group: str,
        copies: int,
        member: Callable[[], str | None],
        follow: Callable[[set[int]], None],
    ) -> None:
        super().__init__(name="standbys", daemon=True)
        self._admin = admin
        self._group = group
        self._copies = copies
        self._member = member
        self._follow = follow
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Look, until told to stop."""
        while self._copies and not self._stopping.wait(_LOOK_SECONDS):
            member = self._member()
            try:
                assigned = self._assigned()
            except (KafkaException, TimeoutError) as error:
                # Copies that stay as they are do no harm; that Kafka is away is told by those who cannot wait for it.
                _log.debug("who leads which partition is not known: %s", error)
                continue
            if assigned and member in assigned:
                self._follow(followed(member, assigned, self._copies))

    def _assigned(self) -> dict[str, list[int]] | None:
        """Return the partitions of each member, or None while they are being assigned."""
        [future] = self._admin.describe_consumer_groups([self._group], request_timeout=_ANSWER_SECONDS).values()
        group = future.result(_ANSWER_SECONDS)
        if group.state != ConsumerGroupState.STABLE:
            return None
        return {
            member.member_id: [part.partition for part in member.assignment.topic_partitions]
            for member in group.members
        }
