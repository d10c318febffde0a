"""One term of a simulated leader, as the executions of its runs see it."""

from collections import deque
from collections.abc import Callable

from stream_engine.core.stages.commands import Input
from tests.simulation.schedule import MILLISECOND, Host

LEASE = 30 * MILLISECOND
"""Shorter than a group's session, so that a paused worker finds it expired once another may lead."""


class Term:
    """Takes what executions report, and says whether they may begin a step."""

    def __init__(self, host: Host, partition: int, epoch: int, began: int) -> None:
        self.host = host
        self.partition = partition
        self.epoch = epoch
        self.inbox: deque[Input] = deque()
        self.wants_lease = False
        self.over = False
        self.wake: Callable[[], None] = lambda: None
        self._waiting: list[Callable[[], None]] = []
        self._lease_until = began + LEASE

    def post(self, command: Input) -> None:
        """Report to the leader; after the end of the term, to nobody."""
        if not self.over:
            self.inbox.append(command)
            self.wake()

    def when_granted(self, begin: Callable[[], None]) -> None:
        """Call back once the lease allows a step to begin; never after the end of the term."""
        if self.over:
            return
        if self.host.schedule.now < self._lease_until:
            begin()
            return
        self.host.schedule.counts["lease expired"] += 1
        self._waiting.append(begin)
        self.wants_lease = True
        self.wake()

    def renew(self, appended_at: int) -> None:
        """Extend the lease: a record that was appended at this time has been acknowledged."""
        self.wants_lease = False
        self._lease_until = appended_at + LEASE
        waiting, self._waiting = self._waiting, []
        for begin in waiting:
            self.when_granted(begin)

    def end(self) -> None:
        """End the term: nothing may begin, nothing is taken."""
        self.over = True
        self.inbox.clear()
