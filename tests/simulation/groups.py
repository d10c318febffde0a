"""Simulated consumer groups: who is assigned what, who believes it, and what is committed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.simulation.schedule import MILLISECOND, Host, Schedule

SESSION = 60 * MILLISECOND


@dataclass(frozen=True)
class Member:
    """A process in a group; ``assigned`` is called with all partitions that it now has, after a delay."""

    host: Host
    assigned: Callable[[frozenset[int]], None]


class Group:
    """The consumer group of one topic.

    An assignment is in force at once, but a member learns of it later, or, while it is paused, much later: meanwhile two
    members hold the same partition. ``overridden`` has those whose newest commit is not by the one they are assigned to, ``passed`` for each offset of a
    partition when one behind it was committed for the first time.
    """

    def __init__(self, schedule: Schedule, name: str, partitions: int) -> None:
        self.name = name
        self.committed: dict[int, tuple[int, str]] = {}
        self.overridden: set[int] = set()
        self.passed: dict[int, list[int]] = {}
        self._schedule = schedule
        self._partitions = partitions
        self._members: list[Member] = []
        self._owners: dict[int, Member] = {}
        self._left: set[Host] = set()

    @property
    def hosts(self) -> set[Host]:
        """The processes that are members."""
        return {member.host for member in self._members}

    def join(self, member: Member) -> None:
        """Add a member."""
        self._left.discard(member.host)
        self._members.append(member)
        self.rebalance()

    def leave(self, host: Host) -> None:
        """Have a process be no member any more, by its own wish."""
        self._left.add(host)
        self._members = [member for member in self._members if member.host is not host]
        self.rebalance()

    def empty(self) -> None:
        """Have no members left: all have been stopped, and their sessions are over."""
        self._members.clear()
        self._owners = {}

    def look_at(self, host: Host) -> None:
        """Put a process that is dead or paused out of the group once its session has expired, if it still is."""
        self._schedule.at(SESSION, lambda: self._expire(host))

    def _expire(self, host: Host) -> None:
        for member in [member for member in self._members if member.host is host]:
            if host.alive and not host.paused:
                continue
            self._schedule.note("expired", host.name, self.name)
            self._members.remove(member)
            self.rebalance()
            # A member that lives learns that it was put out as soon as it goes on, in its own time, and joins again.
            host.at(self._schedule.random.randrange(1, 30 * MILLISECOND), partial(self._rejoin, member))

    def _rejoin(self, member: Member) -> None:
        member.assigned(frozenset())
        if member.host not in self._left | self.hosts:
            self.join(member)

    def rebalance(self) -> None:
        """Deal the partitions anew."""
        members = list(self._members)
        self._owners = {}
        if not members:
            return
        self._schedule.random.shuffle(members)
        for partition in range(self._partitions):
            self._owners[partition] = members[partition % len(members)]
        for member in members:
            delay = self._schedule.random.randrange(0, 20 * MILLISECOND)
            member.host.at(delay, partial(self._tell, member))

    def _tell(self, member: Member) -> None:
        if member in self._members:
            member.assigned(frozenset(p for p, owner in self._owners.items() if owner is member))

    def commit(self, host: Host, partition: int, offset: int, metadata: str = "") -> bool:
        """Commit an offset; refused only to a process that is no member, as Kafka does.

        A member that has lost the partition may still commit for it, and so take the committed offset back.
        """
        if not any(member.host is host for member in self._members):
            self._schedule.happened("commit refused", host.name, partition, offset)
            return False
        owner = self._owners.get(partition)
        if owner is not None and owner.host is host:
            self.overridden.discard(partition)
        else:
            self._schedule.happened("commit by another member", host.name, partition, offset)
            self.overridden.add(partition)
        self.committed[partition] = (offset, metadata)
        passed = self.passed.setdefault(partition, [])
        passed += [self._schedule.now] * (offset - len(passed))
        return True
