"""A partition whose every append is acknowledged at once, for tests of what its leader decides."""

from dataclasses import replace

from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import Change, Committed, Take
from stream_engine.core.partition.room import Room
from stream_engine.core.partition.turn import Function, Rules
from stream_engine.core.stages.commands import Input
from tests.golden.leader_bench import ORIGIN, routed
from tests.simulation.store import SimStore

RULES = Rules("shop", {"pay": Function("pay", ("1",))}, 1, "commands", "journal/J/0", 0)


class Partition:
    """A partition and its leader."""

    def __init__(self, places: int = 1_000) -> None:
        self.store = SimStore()
        self.end = 0
        self.places = places
        self.leader = self.take_over()

    def take_over(self) -> Leader:
        """Begin a new term over the same store, in a process of its own."""
        self.room = Room(self.places)
        candidate = Candidate("w", self.store, ORIGIN)
        raw = candidate.campaign(0)
        candidate.elected(self.end)
        self._write(candidate.replay(self.end, raw))
        self.end += 1
        self.leader = candidate.lead(replace(RULES, room=self.room))
        self.leader.recovered()
        return self.leader

    def step(self, now: int, *inputs: Take | Input) -> Committed:
        """Decide, append, acknowledge, write."""
        assert self.leader.decide([*inputs], now) is not None
        return self.commit()

    def commit(self) -> Committed:
        """Acknowledge and write what has been decided."""
        committed = self.leader.acknowledged(self.end)
        self.end += 1
        self._write(committed.change)
        return committed

    def begin(self, *offsets: int) -> list[str]:
        """Admit an event for each offset; return the ids of the runs that begin."""
        committed = self.step(10, routed(self.leader.commands, *offsets, ts=0))
        return [effect.run_id for effect in committed.effects]

    def _write(self, change: Change | None) -> None:
        assert change is not None
        self.store.write(change)
