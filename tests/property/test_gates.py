"""Limits hold in every order in which partitions decide, whoever takes over meanwhile, and nothing is left at the end.

Several partitions are led by the core's own leaders. What they send each other arrives in order for each pair, and when a partition gets to
it is drawn. The references are lists and a clock.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.failure import Failure
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.turn import Deliver, Execute, Function, Release, Stop
from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Cancel
from stream_engine.core.records.tables import BUFFERS, CLAIMS, ENTRIES, GATES, GATHERED, PLACES, TOKENS
from stream_engine.core.stages.commands import FailRun, FinishRun, Sleep, Stopped, Suspend
from tests.unit.core.network import Network

PARTITIONS = 3
KEYS = 2
WINDOW = 100
INTERIM = {"queued", "delayed"}

DRAWS = st.lists(
    st.tuples(
        st.sampled_from(
            ["event", "event", *["decide", "arrive"] * 3, "end", "fail", "sleep", "cancel", "time", "lead"]
        ),
        st.integers(0, 99),
    ),
    min_size=60,
    max_size=120,
)


def gate(kind: str, key: int, limit: int = 1, **more: int | str) -> Gate:
    """Return a gate whose owner follows from its key, as a hash would have it."""
    values: dict[str, int | str] = {"limit": limit, "per": WINDOW, **more}
    return Gate(kind, f"{kind}-{key}", "f", str(key), (key + len(kind)) % PARTITIONS, **values)  # type: ignore[arg-type] # numbers and words by name


@dataclass
class World:
    """An app with one function behind gates, and what a reference knows of it.

    ``gates`` has those of each key, in their order; runs live where the last one's owner is, or with ``anywhere`` where their event is.
    """

    gates: dict[int, tuple[Gate, ...]]
    anywhere: bool = False
    cancels: bool = False
    sleeps: bool = False
    awake: Counter[int] = field(default_factory=Counter)
    heard: Counter[str] = field(default_factory=Counter)
    network: Network = field(default_factory=lambda: Network(PARTITIONS, Function("f", ("1",)), slow=True))
    keys: list[int] = field(default_factory=list)
    most: Counter[int] = field(default_factory=Counter)
    now: Counter[int] = field(default_factory=Counter)
    running: dict[str, int] = field(default_factory=dict)
    most_of_all: int = 0
    seen: int = 0
    performed: int = 0

    def live(self, draws: list[tuple[str, int]]) -> None:
        """Do what was drawn, and then all that is left to do."""
        for what, choice in draws:
            self._do(what, choice)
        while True:
            self.network.settle()
            self._look()
            if self.network.waiting():
                continue
            if self.running:
                self._end(0, fail=False)
            elif (due := self.network.next_due()) is None:
                return
            else:
                self.network.now = max(self.network.now, due)

    def starts(self) -> dict[int, list[int]]:
        """Return when runs began, by key."""
        found: dict[int, list[int]] = defaultdict(list)
        for record in self.network.told:
            if isinstance(record, RunStarted):
                found[self.keys[record.offset]].append(record.at)
        return found

    def order(self) -> dict[int, list[int]]:
        """Return the offsets of the events whose runs began, by key, in the order in which they did."""
        found: dict[int, list[int]] = defaultdict(list)
        for record in self.network.told:
            if isinstance(record, RunStarted):
                found[self.keys[record.offset]].append(record.offset)
        return found

    def dispositions(self) -> Counter[str]:
        """Return how many events had which final disposition; each has one."""
        finals = [(record.offset, "started") for record in self.network.told if isinstance(record, RunStarted)]
        finals += [
            (record.offset, record.disposition)
            for record in self.network.told
            if isinstance(record, EventDisposed) and record.disposition not in INTERIM
        ]
        assert sorted(offset for offset, _ in finals) == list(range(len(self.keys)))
        return Counter(disposition for _, disposition in finals)

    def nothing_is_left(self) -> None:
        """Object to any state of gates, and to runs that have not ended."""
        started = sum(isinstance(record, RunStarted) for record in self.network.told)
        assert started == sum(isinstance(record, RunEnded) for record in self.network.told)
        tables = (GATES, CLAIMS, PLACES, TOKENS, BUFFERS, GATHERED, ENTRIES)
        for store in self.network.stores():
            left = [key for key in store.data for table in tables if key.startswith(table.prefix)]
            assert left == []

    def _do(self, what: str, choice: int) -> None:
        network = self.network
        if what in ("decide", "arrive"):
            self._go_on(what, choice)
        elif what == "event":
            self._event(choice % KEYS)
        elif what == "cancel":
            self._cancel(choice)
        elif what == "time":
            network.now += choice
        elif what == "lead":
            network.take_over(choice % PARTITIONS)
        elif self.running and what == "sleep":
            self._sleep(choice)
        elif self.running:
            self._end(choice, fail=what == "fail")
        self._look()

    def _go_on(self, what: str, choice: int) -> None:
        """Have a partition decide, or something arrive that is under way from one to another."""
        network = self.network
        if what == "decide" and (waiting := network.waiting()):
            network.decide(waiting[choice % len(waiting)])
        elif what == "arrive" and (under_way := network.under_way()):
            network.deliver(*under_way[choice % len(under_way)])

    def _event(self, key: int) -> None:
        offset = len(self.keys)
        self.keys.append(key)
        gates = self.gates[key]
        event = Event("e", f"at:T/0/{offset}", f"t/0/{offset}", 0, 0, "t", 0, offset, b"{}")
        home = -1 if self.anywhere else gates[-1].partition
        self.network.give(offset % PARTITIONS, Admit(event, [], self._replay(offset), (Asked("f", gates, home),)))

    def _replay(self, offset: int) -> str | None:
        """Return of which replay an event is."""
        return None

    def _cancel(self, choice: int) -> None:
        """Cancel any run that history knows, waiting or running; a debounce or a batch may hold it."""
        runs = sorted({record.run_id for record in self.network.told if record.run_id}) if self.cancels else []
        if runs:
            run_id = runs[choice % len(runs)]
            self.network.give(partition_of(run_id), Cancel(run_id, "ada", seek=True))

    def _sleep(self, choice: int) -> None:
        """Have a run sleep, and then be unloaded, if it has not been told anything meanwhile."""
        if self.sleeps:
            run_id = sorted(self.running)[choice % len(self.running)]
            home = partition_of(run_id)
            self.network.post(home, Sleep(run_id, f"nap {choice}", choice))
            self.network.post(home, Suspend(run_id, self.heard[run_id]))

    def _end(self, choice: int, *, fail: bool) -> None:
        run_id = sorted(self.running)[choice % len(self.running)]
        command = FailRun(run_id, Failure("E", "no")) if fail else FinishRun(run_id, b"null")
        self.network.post(partition_of(run_id), command)
        del self.running[run_id]

    def _look(self) -> None:
        """Follow what was told and what is executed since the last time."""
        told = self.network.told
        for record in told[self.seen :]:
            if isinstance(record, RunStarted):
                key = self.keys[record.offset]
                self.now[key] += 1
                self.most[key] = max(self.most[key], self.now[key])
                self.most_of_all = max(self.most_of_all, self.now.total())
            elif isinstance(record, RunEnded):
                self.now[self._key_of(record.run_id)] -= 1
        self.seen = len(told)
        for effect in self.network.effects[self.performed :]:
            if isinstance(effect, Execute):
                self.running[effect.run_id] = self.keys[effect.event.offset]
                self.heard[effect.run_id] = 0
            elif isinstance(effect, Deliver):
                self.heard[effect.run_id] += 1
            elif isinstance(effect, Release):
                self.running.pop(effect.run_id, None)
            elif isinstance(effect, Stop):
                self.running.pop(effect.run_id, None)
                self.network.post(partition_of(effect.run_id), Stopped(effect.run_id))
            self.awake |= Counter(self.running.values())
        self.performed = len(self.network.effects)

    def _key_of(self, run_id: str) -> int:
        return next(
            self.keys[record.offset]
            for record in self.network.told
            if isinstance(record, RunStarted) and record.run_id == run_id
        )


@settings(max_examples=120, deadline=None)
@given(DRAWS, st.integers(1, 3), st.booleans())
def test_no_more_runs_than_a_limit_go_on_at_a_time(draws: list[tuple[str, int]], limit: int, anywhere: bool) -> None:
    world = World({key: (gate("concurrency", key, limit),) for key in range(KEYS)}, anywhere)
    world.live(draws)
    assert all(most <= limit for most in world.most.values())
    assert world.dispositions() == Counter(started=len(world.keys)) if world.keys else True
    world.nothing_is_left()


@settings(max_examples=120, deadline=None)
@given(DRAWS, st.integers(1, 2))
def test_two_limits_are_taken_without_a_circle(draws: list[tuple[str, int]], limit: int) -> None:
    shared = gate("concurrency", 7, limit)
    world = World({key: (shared, gate("concurrency", key, 1)) for key in range(KEYS)})
    world.live(draws)
    assert all(most <= 1 for most in world.most.values())
    assert world.most_of_all <= limit
    assert world.dispositions()["started"] == len(world.keys)
    world.nothing_is_left()


@settings(max_examples=120, deadline=None)
@given(DRAWS, st.integers(1, 3), st.booleans())
def test_no_window_holds_more_starts_than_a_throttle_allows(
    draws: list[tuple[str, int]], limit: int, behind_a_limit: bool
) -> None:
    behind = (gate("concurrency", 7, 1),) if behind_a_limit else ()
    world = World({key: (gate("throttle", key, limit), *behind) for key in range(KEYS)})
    world.live(draws)
    for starts in world.starts().values():
        assert all(later - earlier >= WINDOW for earlier, later in zip(starts, starts[limit:], strict=False))
    assert world.dispositions()["started"] == len(world.keys)
    world.nothing_is_left()


@settings(max_examples=120, deadline=None)
@given(DRAWS, st.integers(1, 3))
def test_no_window_holds_more_runs_than_a_rate_limit_allows(draws: list[tuple[str, int]], limit: int) -> None:
    world = World({key: (gate("rate limit", key, limit),) for key in range(KEYS)})
    world.live(draws)
    for starts in world.starts().values():
        assert all(later - earlier >= WINDOW for earlier, later in zip(starts, starts[limit:], strict=False))
    assert world.dispositions().keys() <= {"started", "rate-limited"}
    world.nothing_is_left()


@settings(max_examples=120, deadline=None)
@given(DRAWS, st.sampled_from(["skip", "replace"]))
def test_a_singleton_is_alone(draws: list[tuple[str, int]], mode: str) -> None:
    world = World({key: (gate("singleton", key, mode=mode),) for key in range(KEYS)})
    world.live(draws)
    assert all(most <= 1 for most in world.most.values())
    assert world.dispositions().keys() <= {"started", "skipped"} | ({"cancelled"} if mode == "replace" else set())
    if mode == "replace":
        # Whichever way events come, no run follows one of a newer event, and the newest event has one.
        assert all(order == sorted(order) for order in world.order().values())
        assert {key: order[-1] for key, order in world.order().items()} == {
            key: offset for offset, key in enumerate(world.keys)
        }
    world.nothing_is_left()


@settings(max_examples=120, deadline=None)
@given(DRAWS, st.integers(1, 4))
def test_every_event_is_in_one_batch(draws: list[tuple[str, int]], size: int) -> None:
    world = World({key: (gate("batch", key, size, most=1_000),) for key in range(KEYS)})
    world.live(draws)
    batches = [
        [event.offset for event in effect.events]
        for effect in world.network.effects
        if isinstance(effect, Execute) and effect.run.attempt == 0
    ]
    gathered = {offset: batch for batch in batches for offset in batch}
    assert sorted(gathered) == list(range(len(world.keys)))
    assert all(len(batch) <= size and len({world.keys[offset] for offset in batch}) == 1 for batch in batches)
    assert world.dispositions().keys() <= {"started", "batched"}
    world.nothing_is_left()


@settings(max_examples=120, deadline=None)
@given(DRAWS, st.sampled_from(["latest", "all"]), st.sampled_from([0, 2 * WINDOW]))
def test_a_debounce_makes_one_run_of_what_is_close(draws: list[tuple[str, int]], mode: str, most: int) -> None:
    world = World({key: (gate("debounce", key, mode=mode, most=most),) for key in range(KEYS)})
    world.live(draws)
    assert world.dispositions().keys() <= {"started", "coalesced"}
    # The last event of a key is later than all others, whenever it comes to the gate, so no other takes its place.
    last = {key: max(offset for offset, other in enumerate(world.keys) if other == key) for key in set(world.keys)}
    assert all(offset in world.order()[key] for key, offset in last.items())
    if mode == "all":
        runs = [effect.events for effect in world.network.effects if isinstance(effect, Execute)]
        assert {event.offset for events in runs for event in events} == set(range(len(world.keys)))
    world.nothing_is_left()


@settings(max_examples=120, deadline=None)
@given(DRAWS)
def test_a_value_has_one_run(draws: list[tuple[str, int]]) -> None:
    world = World({key: (gate("idempotency", key, per=10**9), gate("concurrency", key, 1)) for key in range(KEYS)})
    world.live(draws)
    assert all(len(starts) == 1 for starts in world.starts().values())
    world.dispositions()


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from([-600_000, 0, 1_000, 120_000]), max_size=12), st.randoms(use_true_random=False))
def test_runs_begin_in_the_order_of_arrival_less_head_start(head_starts: list[int], random: Random) -> None:
    """The first of them begins before the others are there; the rest in one order, whichever partitions decide when."""
    world = World({0: (gate("concurrency", 0),)})
    network = world.network
    network.now = 1_000_000
    for offset, head_start in enumerate(head_starts):
        world.keys.append(0)
        event = Event("e", f"at:T/0/{offset}", f"t/0/{offset}", 0, network.now, "t", 0, offset, b"{}")
        asked = Asked("f", world.gates[0], world.gates[0][0].partition, head_start)
        network.give(offset % PARTITIONS, Admit(event, [], None, (asked,)))
        if offset == 0:
            network.settle()
    while waiting := network.waiting():
        network.decide(random.choice(waiting))
    world.live([])
    rest = sorted(range(1, len(head_starts)), key=lambda offset: (-head_starts[offset], offset))
    assert world.order().get(0, []) == [0, *rest][: len(head_starts)]


@settings(max_examples=120, deadline=None)
@given(DRAWS, st.sampled_from(["skip", "replace"]), st.integers(1, 2))
def test_whatever_is_cancelled_wherever_it_is_gates_are_as_they_were(
    draws: list[tuple[str, int]], mode: str, limit: int
) -> None:
    """All that may stand before one run, in one order."""
    gates: dict[int, tuple[Gate, ...]] = {
        key: (
            gate("batch", key, 2, most=1_000),
            gate("rate limit", key, 2),
            gate("singleton", key, mode=mode),
            gate("throttle", key, limit),
            gate("concurrency", 7, limit),
            gate("concurrency", key, 1, mode="release"),
        )
        for key in range(KEYS)
    }
    world = World(gates, cancels=True)
    world.live(draws)
    assert all(most <= 1 for most in world.most.values())
    for starts in world.starts().values():
        assert all(later - earlier >= WINDOW for earlier, later in zip(starts, starts[limit:], strict=False))
    world.dispositions()
    world.nothing_is_left()


@settings(max_examples=120, deadline=None)
@given(DRAWS, st.integers(1, 2), st.booleans())
def test_a_slot_is_given_back_while_a_run_sleeps_and_asked_for_again(
    draws: list[tuple[str, int]], limit: int, cancels: bool
) -> None:
    """One limit is held to the end, which allows more, and one while a run is awake."""
    gates: dict[int, tuple[Gate, ...]] = {
        key: (gate("concurrency", key + 8, 3), gate("concurrency", key, limit, mode="release")) for key in range(KEYS)
    }
    world = World(gates, cancels=cancels, sleeps=True)
    world.live(draws)
    assert all(most <= 3 for most in world.most.values())
    assert all(most <= limit for most in world.awake.values())
    assert world.dispositions().keys() <= {"started", "cancelled"}
    world.nothing_is_left()
