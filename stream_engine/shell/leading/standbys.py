"""The thread that looks at the group of the leaders: whether it has come to rest, and of which partitions to keep a warm copy."""

import logging
import threading
from collections.abc import Callable

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from stream_engine.core.leading.standby import followed
from stream_engine.shell.coordinators import coordinated

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0
_JOINING_SECONDS = 0.05
_FORBIDDEN = {"GROUP_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "TOPIC_AUTHORIZATION_FAILED"}
"""Who may not look at the group is not to wait for what it shows."""


class Standbys(threading.Thread):
    """Looks at the group of the leaders now and then, and has ``follow`` called with the partitions to keep a copy of.

    Attributes:
        settled: set once this worker was in the group with every partition assigned to somebody. A member that is new is given
            nothing at first, while others give up what it is about to have.
    """

    def __init__(
        self,
        connect: Callable[[], AdminClient],
        group: str,
        partitions: int,
        copies: int,
        *,
        member: Callable[[], str | None],
        follow: Callable[[set[int]], None],
    ) -> None:
        super().__init__(name="standbys", daemon=True)
        self._connect = connect
        self._admin = connect()
        self._group = group
        self.settled = threading.Event()
        self._partitions = partitions
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
        while not self._stopping.wait(_LOOK_SECONDS if self.settled.is_set() else _JOINING_SECONDS):
            if self.settled.is_set() and not self._copies:
                return
            member = self._member()
            try:
                assigned = self._assigned() if member is not None else None
            except KafkaException as error:
                # Copies that stay as they are do no harm; that Kafka is away is told by those who cannot wait for it.
                if error.args[0].name() in _FORBIDDEN:
                    self.settled.set()
                if error.args[0].name() == "_TIMED_OUT":
                    self._admin = self._connect()
                _log.debug("who leads which partition is not known: %s", error)
                continue
            if assigned and member in assigned:
                self._follow(followed(member, assigned, self._copies))
                if sum(map(len, assigned.values())) == self._partitions:
                    self.settled.set()

    def _assigned(self) -> dict[str, list[int]] | None:
        """Return the partitions of each member, or None while they are being assigned.

        Raises:
            KafkaException: Kafka refuses, or does not answer.
        """
        group = coordinated(self._admin.describe_consumer_groups, [self._group])
        if group.state != ConsumerGroupState.STABLE:
            return None
        return {
            member.member_id: [part.partition for part in member.assignment.topic_partitions]
            for member in group.members
        }
