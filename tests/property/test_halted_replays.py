"""Of a replay that is paused or cancelled nothing more begins, in every order in which partitions decide; limits hold, and what is paused holds nothing.

The world is that of the gates, with events of two replays beside live ones, and an operator who pauses, resumes and cancels them.
"""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.partition.room import UNLIMITED
from stream_engine.core.partition.turn import Function
from stream_engine.core.records.history import EventDisposed, RunStarted
from stream_engine.core.records.journal import Gate
from tests.property.test_gates import KEYS, PARTITIONS, WINDOW, World, gate
from tests.unit.core.network import Network

REPLAYS = (None, "a", "b")

DRAWS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("event", "event", *["decide", "arrive"] * 4, "end", "sleep", "time", "lead"),
                *("pause", "pause", "resume", "cancel a replay"),
            ]
        ),
        st.integers(0, 99),
    ),
    min_size=60,
    max_size=120,
)


@dataclass
class Halting(World):
    """A world whose events may be of a replay, by their offset. Replay ``b`` may be cancelled."""

    looked: int = 0
    cancelled: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    begun_in_vain: list[RunStarted] = field(default_factory=list)

    def halts(self, draws: list[tuple[str, int]]) -> None:
        """Do what was drawn, and in the end resume what is paused."""
        for what, choice in draws:
            self._do(what, choice)
        self.paused.clear()
        self._halt()
        self.live([])

    def _do(self, what: str, choice: int) -> None:
        replay = ("a", "b")[choice % 2]
        if what == "pause":
            self.paused.add(replay)
        elif what == "resume":
            self.paused.discard(replay)
        elif what == "cancel a replay":
            self.cancelled.add("b")
        self._halt()
        super()._do(what if what in ("event", "decide", "arrive", "end", "sleep", "time", "lead") else "time", choice)

    def _halt(self) -> None:
        self.network.halt(*(self.paused - self.cancelled), cancelled=self.cancelled)

    def _replay(self, offset: int) -> str | None:
        return REPLAYS[offset % 3]

    def _look(self) -> None:
        told = self.network.told
        for record in told[self.looked :]:
            if isinstance(record, RunStarted) and record.replay_id in self.paused | self.cancelled:
                self.begun_in_vain.append(record)
        self.looked = len(told)
        super()._look()


def _judge(world: Halting) -> None:
    assert world.begun_in_vain == []
    for offset, disposition in _finals(world):
        assert disposition == "started" or (REPLAYS[offset % 3] == "b" and "b" in world.cancelled)
    world.dispositions()
    world.nothing_is_left()


def _finals(world: Halting) -> list[tuple[int, str]]:
    told = [(one.offset, "started") for one in world.network.told if isinstance(one, RunStarted)]
    return told + [
        (one.offset, one.disposition)
        for one in world.network.told
        if isinstance(one, EventDisposed) and one.disposition not in ("queued", "delayed", "batched")
    ]


@settings(max_examples=300, deadline=None)
@given(DRAWS, st.integers(1, 2), st.booleans(), st.booleans(), st.sampled_from([1, 3, UNLIMITED]))
def test_limits_hold_and_nothing_of_a_halted_replay_begins(
    draws: list[tuple[str, int]], limit: int, anywhere: bool, sleeps: bool, places: int
) -> None:
    gates: dict[int, tuple[Gate, ...]] = {
        key: (
            gate("throttle", key, limit),
            gate("concurrency", 7, limit),
            gate("concurrency", key, 1, mode="release"),
        )
        for key in range(KEYS)
    }
    network = Network(PARTITIONS, Function("f", ("1",)), slow=True, places=places)
    world = Halting(gates, anywhere, sleeps=sleeps, network=network)
    world.halts(draws)
    assert all(most <= limit for most in world.most.values())
    assert all(most <= 1 for most in world.awake.values())
    for starts in world.starts().values():
        assert all(later - earlier >= WINDOW for earlier, later in zip(starts, starts[limit:], strict=False))
    _judge(world)


@settings(max_examples=100, deadline=None)
@given(DRAWS)
def test_what_a_halted_replay_gathers_is_held_or_cancelled_as_one(draws: list[tuple[str, int]]) -> None:
    """Each replay has its own batches, as the router gives their gates the replay's id."""
    gates: dict[int, tuple[Gate, ...]] = {
        key: (gate("batch", key, 2, most=1_000), gate("singleton", key, mode="skip"), gate("concurrency", 7, 1))
        for key in range(KEYS)
    }
    world = _Batches(gates)
    world.halts(draws)
    assert all(most <= 1 for most in world.most.values())
    assert world.begun_in_vain == []
    kinds = Counter(disposition for _, disposition in _finals(world))
    assert kinds.keys() <= {"started", "cancelled", "skipped"}
    world.dispositions()
    world.nothing_is_left()


class _Batches(Halting):
    def _event(self, key: int) -> None:
        replay = REPLAYS[len(self.keys) % 3]
        whole = self.gates[key]
        own = gate("batch", key + 10 * REPLAYS.index(replay), 2, most=1_000)
        self.gates[key] = (own, *whole[1:])
        super()._event(key)
        self.gates[key] = whole
