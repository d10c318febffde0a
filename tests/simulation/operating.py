"""Operators of a simulated app: they pause, resume and cancel replays, and pause functions; what workers know of it, and what was promised to who asked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from stream_engine.core.functions.pausing import PausedFunctions
from stream_engine.core.partition.halted import Halted, Halts
from stream_engine.core.records.history import RunStarted
from stream_engine.shell.pauses import Deciding
from tests.simulation.again import Times
from tests.simulation.groups import Group
from tests.simulation.kafka import SimKafka
from tests.simulation.referee import Referee
from tests.simulation.schedule import MILLISECOND, Host

AFTERWARDS = 25_000
"""For how many milliseconds after the faults operators go on: gates of replays hold what comes to them for seconds."""

_PROMPT = 10_000
"""Within how many milliseconds after a command has returned the runs that it has halted stand at no gate any more."""


class Board:
    """What the control topic has of it, and the workers that read it.

    Attributes:
        version: how often that has changed.
        readers: the workers, by the names of their processes.
    """

    def __init__(self) -> None:
        self.version = 0
        self.halts = Halts()
        self.paused: frozenset[str] = frozenset()
        self.readers: dict[str, Reader] = {}

    def write(self, halts: Halts, paused: frozenset[str]) -> None:
        """Write something down; each worker reads it in its own time."""
        self.version += 1
        self.halts, self.paused = halts, paused
        for reader in self.readers.values():
            reader.host.at(reader.host.schedule.random.randrange(1, 100 * MILLISECOND), reader.catch_up)


class Reader:
    """What one worker has read of it, and goes by.

    Attributes:
        goes_by: the version that it has told others it goes by.
    """

    def __init__(self, host: Host, board: Board, changed: Callable[[], None]) -> None:
        """``changed`` is called when something else is to be gone by."""
        self.host = host
        self.halted = Halted(board.halts)
        self.paused = PausedFunctions(board.paused)
        self.deciding = Deciding()
        self.goes_by = board.version
        self._read = board.version
        self._board = board
        self._changed = changed
        board.readers[host.name] = self

    def catch_up(self) -> None:
        """Read everything that is there now."""
        board = self._board
        if self._read == board.version:
            return
        self._read = board.version
        self.halted.follow(board.halts)
        self.paused.ids = board.paused
        self.deciding.replaced()
        self._changed()
        self._round()

    def _round(self) -> None:
        self.deciding.begin()
        self.deciding.end()
        if self.deciding.goes_by_all:
            self.goes_by = self._read
        else:
            self.host.at(MILLISECOND, self._round)


@dataclass(frozen=True)
class _Promise:
    """That nothing of a replay begins any more: since when, by the broker's clock, and who went by it then."""

    at: int
    members: frozenset[str]


class Operators:
    """Give commands, and are told when they are done.

    Attributes:
        cancels: whether they cancel replays, too.
    """

    def __init__(self, referee: Referee, kafka: SimKafka, leaders: Group, times: Times, board: Board) -> None:
        self._referee = referee
        self._kafka = kafka
        self._schedule = kafka.schedule
        self._leaders = leaders
        self._times = times
        self._board = board
        self._newest: dict[str, int] = {}
        self._promises: dict[str, _Promise] = {}
        self.cancels = True
        referee.operators = self

    def plan(self, random: Random, lasts: int, halts: int, pauses: int) -> None:
        """Have so many replays be halted or resumed, and functions paused; everything goes on in the end. ``lasts`` is how long there are faults."""
        end = lasts + AFTERWARDS * MILLISECOND
        for act, count in ((self._change_a_replay, halts), (self._change_a_function, pauses)):
            for _ in range(count):
                self._schedule.at(random.randrange(random.choice((lasts, end))), partial(act, random))
        if halts or pauses:
            self._schedule.at(end, self._let_go)

    def replay_started(self, random: Random) -> None:
        """See at once that this was a mistake: while the first runs of a replay begin."""
        self._schedule.at(random.randrange(50 * MILLISECOND), partial(self._change_a_replay, random))

    def began(self, told: RunStarted, leader: str, claimed_at: int) -> None:
        """Object to a run that begins although an operator was told that nothing more of its replay does.

        A worker that its group took for gone is not waited for: what it appended counts as long as nobody else has claimed the partition.
        """
        promise = self._promises.get(told.replay_id or "")
        if promise is None or told.of_run is not None or self._kafka.lands_late:
            return
        if leader in promise.members or claimed_at > promise.at:
            self._referee.object(2, f"{told} begins, and by {promise} nothing more of its replay was to")

    def _change_a_replay(self, random: Random) -> None:
        going = [again for again in self._times.replays if not again.cancelled]
        if not going:
            return
        acts = ("pause", "pause", "pause", "resume", "resume", *(("cancel",) if self.cancels else ()))
        again, act = random.choice(going), random.choice(acts)
        replay, (paused, cancelled) = again.whole.replay_id, self._board.halts
        if act == "cancel":
            again.cancelled = True
            halts = Halts(paused - {replay}, cancelled | {replay})
        elif (act == "pause") is (replay in paused):
            return
        else:
            halts = Halts(paused ^ {replay}, cancelled)
        self._schedule.happened(f"{act} of a replay", replay)
        self._promises.pop(replay, None)
        self._board.write(halts, self._board.paused)
        self._newest[replay] = self._board.version
        if act != "resume":
            self._wait(replay, self._board.version)

    def _change_a_function(self, random: Random) -> None:
        self._schedule.happened("pause of a function")
        self._board.write(self._board.halts, self._board.paused ^ {random.choice(("f", "g", "h"))})

    def _let_go(self) -> None:
        for replay in self._board.halts.paused:
            self._promises.pop(replay, None)
            self._newest[replay] = self._board.version + 1
        self._board.write(Halts(frozenset(), self._board.halts.cancelled), frozenset())

    def _wait(self, replay: str, version: int) -> None:
        """Return to who has given a command once all workers that there are go by it, unless there has been another one."""
        if self._newest[replay] != version:
            return
        members = frozenset(host.name for host in self._leaders.hosts)
        if any(self._board.readers[name].goes_by < version for name in members):
            self._schedule.at(MILLISECOND, partial(self._wait, replay, version))
            return
        self._schedule.happened("command about a replay returned", replay)
        self._promises[replay] = _Promise(self._kafka.clock_ms, members)
        self._schedule.at(_PROMPT * MILLISECOND, partial(self._look, replay, version))

    def _look(self, replay: str, version: int) -> None:
        if self._newest[replay] == version:
            self._referee.gatekeeper.stands_at_none(replay, self._referee.started.__contains__)
