"""Properties of what bounds the runs of a worker: the places, and the queues of those that wait for one."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_engine.core.partition.change import Change
from stream_engine.core.partition.room import Room
from stream_engine.core.partition.state import State
from stream_engine.core.partition.waiting import Waiting
from stream_engine.core.records.journal import Event
from stream_engine.core.records.tables import WAITING, Run
from tests.simulation.store import SimStore

FUNCTIONS = ("a", "a:on_failure", "ab", "b")

functions = st.sampled_from(FUNCTIONS)


def _event(partition: int, offset: int) -> Event:
    return Event("e", f"at:{partition}/{offset}", "", 0, 0, "events", partition, offset, b"{}")


class WaitingMachine(RuleBasedStateMachine):
    """Runs come out in the order of their admission within each function, once, whatever is kept where meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.store = SimStore()
        self.state = State(self.store)
        self.waiting = Waiting(self.state, 2)
        self.naive: dict[str, dict[tuple[int, int, int, str], str]] = {function: {} for function in FUNCTIONS}

    @rule(function=functions, at=st.integers(0, 5), partition=st.integers(0, 300), offset=st.integers(0, 300))
    def add(self, function: str, at: int, partition: int, offset: int) -> None:
        """Have a run wait that does not yet."""
        run_id = f"{function}-{at}-{partition}-{offset}"
        place = (at, partition, offset, run_id)
        if place not in self.naive[function]:
            self.waiting.add(run_id, Run(function, "", "queued", "", at), _event(partition, offset), 9)
            self.naive[function][place] = run_id

    @rule(busy=st.sets(functions))
    def take(self, busy: set[str]) -> None:
        """Take a run of a function that is not busy."""
        room = Room(1)
        for function in busy:
            room._held[function] = 16
        run_id = self.waiting.take(room)
        ready = {function: min(places) for function, places in self.naive.items() if places and function not in busy}
        if run_id is None:
            assert not ready
        else:
            [function] = [function for function, place in ready.items() if place[3] == run_id]
            del self.naive[function][ready[function]]

    @precondition(lambda self: any(self.naive.values()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete one that waits, without a word to the queue."""
        entries = [(function, place) for function, places in self.naive.items() for place in sorted(places)]
        function, place = data.draw(st.sampled_from(entries))
        keys = [key for key, _ in self.state.scan(WAITING, WAITING.prefix, WAITING.stop)]
        [key] = [
            key for key in keys if key.endswith(place[3].encode()) and key[1:].startswith(f"{function}\0".encode())
        ]
        self.state.delete(key)
        del self.naive[function][place]

    @rule()
    def settle(self) -> None:
        """Write the changes to the store."""
        self.store.write(Change(*self.state.changes()))
        self.state.settle()

    @rule()
    def take_over(self) -> None:
        """Begin anew from what is stored."""
        self.settle()
        self.waiting = Waiting(self.state, 2)

    @invariant()
    def who_waits_is_known(self) -> None:
        """A function that has runs waiting is never taken for one that has none."""
        room = Room(1)
        assert all(self.waiting.has(function) for function, places in self.naive.items() if places)
        assert self.waiting.ready(room) or not any(self.naive.values())


TestWaiting = WaitingMachine.TestCase


@given(st.integers(1, 5), st.integers(1, 5))
def test_functions_that_wait_take_turns(first: int, second: int) -> None:
    waiting = Waiting(State(SimStore()))
    for function, number in (("a", first), ("b", second)):
        for offset in range(number):
            waiting.add(f"{function}{offset}", Run(function, "", "queued", "", 0), _event(0, offset), 0)
    taken = [waiting.take(Room(1)) for _ in range(first + second)]
    alternating = [f"{function}{offset}" for offset in range(5) for function in "ab"]
    assert taken[: 2 * min(first, second)] == alternating[: 2 * min(first, second)]
    assert waiting.take(Room(1)) is None


@given(st.integers(1, 2_000), st.lists(st.tuples(functions, st.booleans()), max_size=300))
def test_what_is_held_never_exceeds_the_places_and_is_all_given_back(
    places: int, changes: list[tuple[str, bool]]
) -> None:
    room = Room(places)
    held: list[str] = []
    for function, takes in changes:
        if takes and room.has(function):
            room.take(function)
            held.append(function)
        elif not takes and function in held:
            room.give(function)
            held.remove(function)
        assert room.free == places - len(held) >= 0
    for function in held:
        room.give(function)
    assert all(room.has(function) for function in FUNCTIONS)
    assert room.free == places


def _fill(room: Room, *greedy: str) -> dict[str, int]:
    """Have functions take turns at taking whatever they get; return how many places each holds then."""
    held = dict.fromkeys(greedy, 0)
    while takers := [function for function in greedy if room.has(function)]:
        for function in takers:
            if room.has(function):
                room.take(function)
                held[function] += 1
    return held


def test_while_there_is_too_much_to_do_only_functions_with_little_are_let_in() -> None:
    room = Room(1_000)
    for _ in range(16):
        assert room.lets_in("a")
        room.take("a")
    room.busy = True
    assert not room.lets_in("a")
    assert room.has("a"), "what did not have to wait is not held up"
    assert room.lets_in("b")
    room.busy = False
    assert room.lets_in("a")


@given(st.integers(1, 16))
def test_few_places_may_all_be_held_by_one_function(places: int) -> None:
    assert _fill(Room(places), "a") == {"a": places}


@given(st.integers(17, 20_000), st.integers(1, 3))
def test_greedy_functions_share_alike_and_leave_room_for_another(places: int, number: int) -> None:
    room = Room(places)
    held = _fill(room, *FUNCTIONS[:number]).values()
    assert max(held) - min(held) <= 1
    assert room.has("b") or places <= 16 * number
    assert sum(held) >= places * 16 * number // (16 * number + 1) - number
