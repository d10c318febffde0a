"""What a partition is to decide upon: what its executions report, and the commands that have been read, which are many at times."""

from collections import deque
from collections.abc import Callable

from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import Take
from stream_engine.core.stages.commands import Input
from stream_engine.shell.leading.backlog import Backlog

_GROUP = 100


class Inputs:
    """The inputs of one term after the other. What runs goes first, however many commands wait, and however large they are."""

    def __init__(self, hold: Callable[[bool], None]) -> None:
        """Call ``hold`` with whether the reading of commands is to stop."""
        self._backlog = Backlog(hold)
        self._reports: list[Input] = []
        self._takes: list[Take] = []

    @property
    def commands_wait(self) -> bool:
        """Whether commands have been read that are not decided upon."""
        return bool(self._takes or self._backlog)

    @property
    def wait(self) -> bool:
        """Whether there is anything that has been taken in, and not been decided upon."""
        return bool(self._reports) or self.commands_wait

    def arrived(self, takes: list[Take]) -> None:
        """Take in records of the commands topic."""
        self._backlog.add(takes)

    def collect(self, reports: deque[Input], *, intake: bool) -> bool:
        """Take some reports and, with ``intake``, commands for the next record; return whether there are any."""
        while reports and len(self._reports) < _GROUP:
            self._reports.append(reports.popleft())
        if intake:
            self._takes += self._backlog.take(_GROUP - len(self._takes))
        return bool(self._reports or (intake and self._takes))

    def decide(self, leader: Leader, now: int, *, intake: bool) -> bytes | None:
        """Return the record of decisions upon what was collected; what it has no room for is kept for the next."""
        inputs = [*self._reports, *(self._takes if intake else ())]
        given = len(inputs)
        raw = leader.decide(inputs, now)
        decided = given - len(inputs)
        reports = min(decided, len(self._reports))
        del self._reports[:reports]
        del self._takes[: decided - reports]
        return raw

    def begin_anew(self) -> None:
        """Forget everything: the topic is read from another place on."""
        self._backlog.begin_anew()
        self._reports.clear()
        self._takes.clear()
