"""Properties of what decisions read: the state over its store, and the timers over the state."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from stream_engine.core.partition.change import Change
from stream_engine.core.partition.state import State
from stream_engine.core.partition.timers import Timers
from stream_engine.core.records.tables import SEQUENCES, TIMERS, Sequence, Timer, timed_parts
from tests.simulation.store import SimStore

names = st.text("abc", max_size=3)


class StateMachine(RuleBasedStateMachine):
    """A state over a store behaves as one dict, whatever is put, deleted and settled in between."""

    def __init__(self) -> None:
        super().__init__()
        self.store = SimStore()
        self.state = State(self.store)
        self.naive: dict[bytes, Sequence] = {}

    @rule(name=names, number=st.integers(0, 5))
    def put(self, name: str, number: int) -> None:
        """Put an entry."""
        self.state.put(SEQUENCES.key(name), Sequence(number))
        self.naive[SEQUENCES.key(name)] = Sequence(number)

    @rule(name=names)
    def delete(self, name: str) -> None:
        """Delete an entry, whether or not it is there."""
        self.state.delete(SEQUENCES.key(name))
        self.naive.pop(SEQUENCES.key(name), None)

    @rule()
    def settle(self) -> None:
        """Write the changes to the store."""
        self.store.write(Change(*self.state.changes()))
        self.state.settle()
        assert self.state.changes() == ([], [])

    @rule(name=names)
    def get(self, name: str) -> None:
        """Read an entry."""
        key = SEQUENCES.key(name)
        assert self.state.get(SEQUENCES, key) == self.naive.get(key)

    @rule(start=names, stop=names)
    def scan(self, start: str, stop: str) -> None:
        """Read a range."""
        first, last = SEQUENCES.key(start), SEQUENCES.key(stop)
        expected = [(key, self.naive[key]) for key in sorted(self.naive) if first <= key < last]
        assert list(self.state.scan(SEQUENCES, first, last)) == expected

    @invariant()
    def scan_all(self) -> None:
        """The whole table is as it should be at any time."""
        assert dict(self.state.scan(SEQUENCES, SEQUENCES.prefix, SEQUENCES.stop)) == self.naive


class TimersMachine(RuleBasedStateMachine):
    """Timers fire once, in order, when they are due, although only a few are kept in memory."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.store = SimStore()
        self.state = State(self.store)
        self.timers = Timers(self.state, 3)
        self.waiting: set[bytes] = set()
        self.now = 0

    @rule(at=st.integers(0, 40), run=names, target=keys)
    def set(self, at: int, run: str) -> bytes:
        """Set a timer, perhaps one that is due already, perhaps one that is set."""
        key = TIMERS.timed_key(at, "wake", run, "")
        self.state.put(key, Timer("wake", run))
        self.timers.add(key)
        self.waiting.add(key)
        return key

    @rule(step=st.integers(0, 10), limit=st.integers(1, 4))
    def pass_time(self, step: int, limit: int) -> None:
        """Take what is due, a few at a time, as far as it is still there, and have it gone from the state."""
        self.now += step
        expected = sorted(key for key in self.waiting if timed_parts(key)[0] <= self.now)
        fired: list[bytes] = []
        while due := self.timers.take_due(self.now, limit):
            assert len(due) <= limit
            for key in due:
                if self.state.get(TIMERS, key) is not None:
                    self.state.delete(key)
                    fired.append(key)
        assert fired == expected
        self.waiting.difference_update(fired)

    @rule()
    def settle(self) -> None:
        """Write the changes to the store."""
        self.store.write(Change(*self.state.changes()))
        self.state.settle()

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        """Delete a timer without a word to the heap."""
        self.state.delete(key)
        self.waiting.discard(key)

    @rule()
    def take_over(self) -> None:
        """Begin anew from what is stored."""
        self.settle()
        self.timers = Timers(self.state, 3)

    @invariant()
    def nothing_due_is_hidden(self) -> None:
        """The next timer is never later than the earliest that waits."""
        if self.waiting:
            at = self.timers.next_due()
            assert at is not None
            assert at <= timed_parts(min(self.waiting))[0]


TestState = StateMachine.TestCase
TestTimers = TimersMachine.TestCase


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(1, 5))
def test_timers_beyond_the_window_come_from_the_store(times: list[int], window: int) -> None:
    """A partition may have more sleepers than memory."""
    state = State(SimStore())
    for number, at in enumerate(times):
        state.put(TIMERS.timed_key(at, "wake", str(number), ""), Timer("wake", str(number)))
    table = Timers(state, window)
    taken: list[int] = []
    for now in range(31):
        while due := table.take_due(now, 3):
            for key in due:
                state.delete(key)
                taken.append(timed_parts(key)[0])
    assert taken == sorted(times)
