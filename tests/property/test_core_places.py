"""Properties of the places at gates: whoever is first comes first, whatever of it is in memory."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from stream_engine.core.partition.change import Change
from stream_engine.core.partition.places import Places
from stream_engine.core.partition.state import State
from stream_engine.core.records.tables import PLACES
from tests.simulation.store import SimStore

GATES = ("a", "ab", "b")

gates = st.sampled_from(GATES)
numbers = st.integers(0, 300)


class PlacesMachine(RuleBasedStateMachine):
    """The first place of a gate is the first one that somebody has taken and not left."""

    def __init__(self) -> None:
        super().__init__()
        self.store = SimStore()
        self.state = State(self.store)
        self.places = Places(self.state, 2, 2)
        self.naive: dict[str, set[bytes]] = {gate: set() for gate in GATES}
        self.front = dict.fromkeys(GATES, b"")

    @rule(gate=gates, number=numbers)
    def add(self, gate: str, number: int) -> None:
        """Have somebody wait who does not yet."""
        place = PLACES.key(gate, "") + number.to_bytes(2, "big")
        if place not in self.naive[gate]:
            self.front[gate] = min(place, self.front[gate]) if self.naive[gate] else place
            self.naive[gate].add(place)
            self.places.add(gate, place, 9)

    @rule(gate=gates, data=st.data())
    def leave(self, gate: str, data: st.DataObject) -> None:
        """Have somebody give up."""
        if self.naive[gate]:
            place = data.draw(st.sampled_from(sorted(self.naive[gate])))
            self.naive[gate].discard(place)
            self.places.leave(gate, place)

    @rule(gate=gates)
    def let_through(self, gate: str) -> None:
        """Let the first one through."""
        if not self.naive[gate]:
            return
        while (place := self.places.first(gate, self.front[gate])) not in self.naive[gate]:
            assert place is not None
            self.places.pass_over(gate)
        assert place == min(self.naive[gate])
        self.front[gate] = place
        self.naive[gate].discard(place)
        self.places.leave(gate, place)

    @rule()
    def settle(self) -> None:
        """Write the changes to the store."""
        self.store.write(Change(*self.state.changes()))
        self.state.settle()

    @rule()
    def begin_anew(self) -> None:
        """Begin another term."""
        self.settle()
        self.state = State(self.store)
        self.places = Places(self.state, 2, 2)


TestPlaces = PlacesMachine.TestCase
