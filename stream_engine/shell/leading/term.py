"""One term of leading one partition, as the execution of its runs sees it."""

from collections import deque
from collections.abc import Callable

from stream_engine.core.records.requests import Command, ReturnRun, ReturnStep
from stream_engine.core.stages.commands import Input
from stream_engine.shell.clock import monotonic

LEASE_SECONDS = 5.0


class Term:
    """Takes what executions report, from any thread, and says whether they may begin a step.

    The lease runs from the moment at which the last acknowledged record was appended. Without it, a worker that was paused
    after an acknowledgement would begin a step that another worker has been leading for long.
    """

    def __init__(
        self, partition: int, epoch: int, wake: Callable[[], None], send: Callable[[int, Command], None]
    ) -> None:
        self.partition = partition
        self.epoch = epoch
        self.reports: deque[Input] = deque()
        self.lent = False
        self.wants_lease = False
        self._wake = wake
        self._send = send
        self._lease_until = monotonic() + LEASE_SECONDS
        self._over = False

    @property
    def has_news(self) -> bool:
        """Whether there is anything for the leader to do."""
        return bool(self.reports) or self.wants_lease

    def post(self, command: Input) -> None:
        """Report to the leader; after the end of the term, to nobody."""
        if not self._over:
            self.reports.append(command)
            self._wake()

    def may_begin(self) -> bool:
        """Return whether a step may begin now; if not, the lease is being renewed: ask again."""
        if self._over:
            return False
        if monotonic() < self._lease_until:
            return True
        self.wants_lease = True
        self._wake()
        return False

    def give_back(self, command: ReturnStep | ReturnRun) -> None:
        """Send what came of something that was lent to whoever leads the partition now; from any thread."""
        self._send(self.partition, command)

    def all_lent(self) -> None:
        """Note that everything that goes on has been posted as lent; from any thread."""
        self.lent = True
        self._wake()

    def renew(self, appended_at: float) -> None:
        """Extend the lease: a record that was appended at this time (`monotonic`) has been acknowledged."""
        self.wants_lease = False
        self._lease_until = appended_at + LEASE_SECONDS

    def end(self) -> None:
        """End the term: nothing may begin, nothing is taken."""
        self._over = True
