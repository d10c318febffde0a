"""Several partitions that send each other commands, each decided upon when the test says so."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from stream_engine.core.functions.catalogue import FunctionSpec
from stream_engine.core.functions.pausing import PausedFunctions
from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import Take
from stream_engine.core.partition.halted import Halted, Halts
from stream_engine.core.partition.room import UNLIMITED, Room
from stream_engine.core.partition.turn import Effect, Function, Rules
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.history import HistoryRecord
from stream_engine.core.records.origin import Logs, Origin
from stream_engine.core.records.requests import Command, Commands
from stream_engine.core.records.tables import Outgoing
from stream_engine.core.records.wanted import Sender
from stream_engine.core.stages.commands import Input
from tests.simulation.store import SimStore


class _Member:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.store = SimStore()
        self.end = 0
        self.taken = 0
        self.inputs: list[Take | Input] = []
        self.links: defaultdict[int, deque[tuple[bytes, bytes]]] = defaultdict(deque)
        self.leader = self.lead()

    def lead(self) -> Leader:
        """Begin a term."""
        rules = self.rules
        candidate = Candidate("w", self.store, Origin(Logs("c", "J", "C", rules.partitions), rules.partition))
        raw = candidate.campaign(0)
        candidate.elected(self.end)
        change = candidate.replay(self.end, raw)
        assert change is not None
        self.store.write(change)
        self.end += 1
        return candidate.lead(rules)


class Network:
    """The partitions of an app.

    Attributes:
        now: journal time, milliseconds since the epoch.
        history: what was told, with the partition that told it.
        effects: what the executions are to do.
        sizes: how many bytes each record of a journal had.
        commands: how many commands have arrived.
        produced: what was sent to other topics than that of commands.
        refuses: whether Kafka takes nothing of that.
        halted: the replays that are halted.
        asking: the partitions that ask up to when all events are routed.
    """

    def __init__(
        self,
        partitions: int,
        *functions: Function,
        slow: bool = False,
        places: int = UNLIMITED,
        runs_again: Callable[[str, Sender], bool] = lambda _, __: False,
        halted: Halted | None = None,
    ) -> None:
        """With ``slow``, what partitions send each other is under way until it is delivered; who takes over sends it again. All share so many ``places``."""
        self.now = 1_000
        self.sizes: list[int] = []
        self.commands = 0
        self.produced: list[Outgoing] = []
        self.refuses = False
        self.asking: set[int] = set()
        self._slow = slow
        self.history: list[tuple[int, HistoryRecord]] = []
        self.effects: list[Effect] = []
        self._functions = {function.id: function for function in functions}
        self._in_force = dict(self._functions)
        self._paused = PausedFunctions()
        self.halted = halted or Halted()
        room = Room(places)
        rules = [
            Rules(
                *("shop", self._functions, partitions, "commands", f"journal/J/{p}", p),
                paused=self._paused,
                halted=self.halted,
                control_topic="control",
                room=room,
                runs_again=runs_again,
                in_force=self._published,
            )
            for p in range(partitions)
        ]
        self._members = [_Member(replace(rule)) for rule in rules]

    @property
    def told(self) -> list[HistoryRecord]:
        """What was told, wherever."""
        return [record for _, record in self.history]

    def stores(self) -> list[SimStore]:
        """Return what the partitions have written."""
        return [member.store for member in self._members]

    def give(self, partition: int, *commands: Command) -> None:
        """Have commands arrive at a partition."""
        for command in commands:
            self.arrive(partition, Commands("", None, [(0, command)]))

    def pause(self, *functions: str) -> None:
        """Have these functions be paused from now on, and no others."""
        self._paused.ids = frozenset(functions)

    def halt(self, *paused: str, cancelled: Iterable[str] = ()) -> None:
        """Have these replays be paused from now on, and these cancelled, and no others."""
        self.halted.follow(Halts(frozenset(paused), frozenset(cancelled)))

    def publish(self, *functions: Function) -> None:
        """Have a deploy of these functions be in force, whose code is not there yet."""
        self._in_force = {function.id: function for function in functions}

    def deploy(self) -> None:
        """Have all partitions be led by who has the code of what is in force."""
        self.lead_with(*self._in_force.values())

    def lead_with(self, *functions: Function) -> None:
        """Have all partitions be led by who has the code of these functions, whatever is in force."""
        self._functions.clear()
        self._functions.update({function.id: function for function in functions})
        for partition in range(len(self._members)):
            self.take_over(partition)

    def _published(self) -> dict[str, FunctionSpec]:
        return {
            id: FunctionSpec(
                *(id, [], list(one.versions), {}, one.flow, one.crons, one.on_failure, one.on_cancel, one.timeouts)
            )
            for id, one in self._in_force.items()
        }

    def post(self, partition: int, command: Input) -> None:
        """Have the execution of a partition's runs report something."""
        self._members[partition].inputs.append(command)

    def waiting(self) -> list[int]:
        """Return the partitions that have something to decide."""
        return [p for p, member in enumerate(self._members) if member.inputs or self._is_due(member)]

    def decide(self, partition: int) -> None:
        """Have one partition decide upon the first thing that it has, and what it says arrive."""
        member = self._members[partition]
        first, member.inputs = member.inputs[:1], member.inputs[1:]
        raw = member.leader.decide(first, self.now)
        # What is too much for one record is gone on with in the next.
        member.inputs[:0] = first
        if raw is None:
            return
        self.sizes.append(len(raw))
        committed = member.leader.acknowledged(member.end)
        member.end += 1
        member.store.write(committed.change)
        self.effects += committed.effects
        if committed.asks:
            self.asking.add(partition)
        self.history += [(partition, record) for record in committed.told.records]
        self._send(member, committed.sends)
        if not self._slow:
            self._deliver_all()

    def next_due(self) -> int | None:
        """Return when the next timer of any partition is due, or None."""
        due = [at for member in self._members if (at := member.leader.due()) is not None]
        return min(due, default=None)

    def settle(self) -> None:
        """Decide until there is nothing left."""
        self._deliver_all()
        while waiting := self.waiting():
            self.decide(waiting[0])
            self._deliver_all()

    def under_way(self) -> list[tuple[int, int]]:
        """Return from where to where something is under way."""
        return [
            (source, to) for source, member in enumerate(self._members) for to, link in member.links.items() if link
        ]

    def deliver(self, source: int, to: int) -> None:
        """Have the first thing arrive that is under way from one partition to another."""
        member = self._members[source]
        key, value = member.links[to].popleft()
        member.leader.sent(key)
        self.arrive(to, decode_commands(value))

    def acknowledge(self, partition: int, key: bytes) -> None:
        """Have Kafka acknowledge a message of a partition that it refused before."""
        self._members[partition].leader.sent(key)

    def take_over(self, partition: int, *functions: Function) -> None:
        """Have another leader take over, which begins with what the store has, and sends again what is not known to have arrived.

        It has the code of the functions that are given, or else of those that the last one had.
        """
        member = self._members[partition]
        if functions:
            member.rules = replace(member.rules, functions={function.id: function for function in functions})
        member.leader.close()
        member.leader = member.lead()
        member.links.clear()
        recovered = member.leader.recovered()
        if recovered.asks:
            self.asking.add(partition)
        self._send(member, recovered.sends)
        if not self._slow:
            self._deliver_all()

    def _send(self, member: _Member, sends: list[tuple[bytes, Outgoing]]) -> None:
        for key, message in sends:
            if message.topic == "commands" and message.partition is not None:
                member.links[message.partition].append((key, message.value or b""))
            else:
                self.produced.append(message)
                if not self.refuses:
                    member.leader.sent(key)

    def _deliver_all(self) -> None:
        for source, to in self.under_way():
            while self._members[source].links[to]:
                self.deliver(source, to)

    def arrive(self, partition: int, commands: Commands) -> None:
        """Have a record of commands arrive at a partition."""
        member = self._members[partition]
        member.inputs.append(Take(member.taken, commands))
        self.commands += len(commands.items)
        member.taken += 1

    def _is_due(self, member: _Member) -> bool:
        due = member.leader.due()
        return due is not None and due <= self.now
