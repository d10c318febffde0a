"""Functions that are paused and go on, by routers that crash and repeat themselves: every event runs once, at once or when what was missed is run."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stream_engine.core.functions.catalogue import Catalogue, FunctionSpec
from stream_engine.core.functions.flow import Concurrency, Flow
from stream_engine.core.functions.match import Matched
from stream_engine.core.functions.pausing import Missed, hold_back
from stream_engine.core.partition.turn import Function
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.history import EventDisposed, RunStarted
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.receive import Message, receive
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.route import Match, Router
from tests.unit.core.network import Network

PARTITIONS = 3
GATED = Flow((Concurrency(1_000, key="event.data.n"),))
CATALOGUE = Catalogue({"f": FunctionSpec("f", ["a"], ["1"]), "g": FunctionSpec("g", ["a"], ["1"], flow=GATED)})
FUNCTIONS = (Function("f", ("1",)), Function("g", ("1",), flow=GATED))

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("route"), st.integers(1, 4)),
        st.tuples(st.just("crash"), st.integers(0, 6)),
        st.tuples(st.just("pause"), st.sets(st.sampled_from(["f", "g"]))),
        st.tuples(st.just("decide"), st.integers(0, PARTITIONS - 1)),
    ),
    max_size=40,
)


class World:
    """A log of events, its routers, one after the other, and the leaders."""

    def __init__(self) -> None:
        self.network = Network(PARTITIONS, *FUNCTIONS)
        self.paused: frozenset[str] = frozenset()
        self.end = 0
        self._next = 0

    def route(self, count: int) -> None:
        """Events come, and are routed by what is known now."""
        self.end = max(self.end, self._next + count)
        self._send(range(self._next, self._next + count), None, self._match)
        self._next += count

    def crash(self, back: int) -> None:
        """Another router begins where the last one had committed, and knows something else by now."""
        self._next = max(self._next - back, 0)

    def replay(self, name: str, function: str, selected: frozenset[tuple[int, int]]) -> None:
        """Run some events of a function again."""
        extent = Extent(name, "shop.events", {0: (0, self.end)}, function, selected)
        self._send(range(self.end), extent, CATALOGUE.match)

    def _match(self, event: Event, partitions: int, replay_id: str | None) -> Matched:
        return hold_back(CATALOGUE.match(event, partitions, replay_id), self.paused)

    def _send(self, offsets: range, extent: Extent | None, match: Match) -> None:
        messages = [
            Message("shop.events", "E", 0, n, 1_000, None, json.dumps({"name": "a", "data": {"n": n}}).encode())
            for n in offsets
        ]
        if not messages:
            return
        router = Router("E", 0, offsets.start, PARTITIONS, extent)
        routed = router.route([(message, receive(message, {})) for message in messages], offsets.stop, match)
        for partition, raw in routed.commands:
            self.network.arrive(partition, decode_commands(raw))


@given(STEPS)
def test_every_event_runs_once_for_each_function_at_once_or_when_it_was_missed(steps: list[tuple[str, object]]) -> None:
    world = World()
    for word, what in steps:
        if word == "route":
            world.route(int(str(what)))
        elif word == "crash":
            world.crash(int(str(what)))
        elif word == "pause":
            assert isinstance(what, set)
            world.paused = frozenset(what)
        elif int(str(what)) in world.network.waiting():
            world.network.decide(int(str(what)))
    world.paused = frozenset()
    world.network.settle()
    # What is told last was decided last: nothing of a replay has been told before.
    world.network.now += 1
    for function in ("f", "g"):
        missed = Missed(function)
        for record in world.network.told:
            missed.add(record)
        world.replay(f"r-{function}", function, frozenset(missed.places().get(("shop.events", None), set())))
    world.network.settle()
    starts = Counter((one.function, one.offset) for one in world.network.told if isinstance(one, RunStarted))
    routed = world.end
    assert starts == {(function, offset): 1 for function in ("f", "g") for offset in range(routed)}
    told = [one for one in world.network.told if isinstance(one, EventDisposed) and one.disposition == "paused"]
    live = Counter(
        (one.function, one.offset)
        for one in world.network.told
        if isinstance(one, RunStarted) and one.replay_id is None
    )
    live.update((one.function, one.offset) for one in told)
    assert live == starts
    for function in ("f", "g"):
        missed = Missed(function)
        for record in reversed(world.network.told):
            missed.add(record)
        assert missed.places() == {}
