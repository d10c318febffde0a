"""Gates that gather or drop are exact, live and in a replay: both do with a history what the references do.

Live, nothing lags: an event is decided upon when it is on the log. In a replay the whole history comes within seconds, its partitions and what
leaders send each other in any order. The events are judged by the router's own matching, so a batch's ``if_`` and the keys are, too.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.functions.flow import Batch, Debounce, Flow, RateLimit
from stream_engine.core.functions.match import IDEMPOTENT_FOR, Wish, match
from stream_engine.core.gates import event_time
from stream_engine.core.identity import home_partition
from stream_engine.core.partition.turn import Execute, Function
from stream_engine.core.records.history import EventDisposed, RunStarted
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit
from stream_engine.core.records.tables import (
    ARRIVALS,
    BUFFERS,
    CLAIMS,
    ENTRIES,
    GATES,
    GATHERED,
    HELD,
    KNOWN,
    PLACES,
    TOKENS,
)
from tests.property import naive
from tests.unit.core.network import Network

PARTITIONS = 3
BEGAN = 1_700_000_000_000
DAY = 24 * 3_600_000
MOST = 25
"""How many events a history has at most. Twice as many milliseconds, and 50 for what is due, keep moments apart."""
KEY = "event.data.key"
INTERIM = {"queued", "delayed"}


@dataclass(frozen=True)
class Drawn:
    """One event: how long after the one before, of which key and partition, with which distance of its ``ts``, and how large."""

    gap: int
    key: int
    partition: int
    ts: int
    size: int
    loud: bool


def drawn(gaps: Sequence[int]) -> st.SearchStrategy[list[Drawn]]:
    """Return histories of such gaps."""
    one = st.builds(
        Drawn,
        st.sampled_from(gaps),
        st.integers(0, 1),
        st.integers(0, 1),
        st.sampled_from([0, 0, 0, 0, -700, -100, 700]),
        st.integers(0, 60),
        st.booleans(),
    )
    return st.lists(one, max_size=MOST)


GAPS = (0, 0, 100, 100, 200, 400, 500, 600, 1_000, 5_000)
DEBOUNCES = st.builds(
    Debounce,
    st.sampled_from([250, 550]),
    st.just(KEY),
    st.sampled_from([None, 650, 1_050]),
    st.sampled_from(["latest", "all"]),
)
BATCHES = st.builds(
    Batch,
    st.integers(1, 4),
    st.sampled_from([250, 550]),
    st.just(KEY),
    st.sampled_from([120, 10_000]),
    st.sampled_from([None, "event.data.loud"]),
)
LIMITS = st.builds(RateLimit, st.integers(1, 3), st.sampled_from([500, 1_000, 3_000]), st.just(KEY))
FLOWS = st.builds(
    lambda gathers, rate, idempotent: Flow(
        debounce=gathers if isinstance(gathers, Debounce) else None,
        batch=gathers if isinstance(gathers, Batch) else None,
        rate_limit=rate,
        idempotency=KEY if idempotent else None,
    ),
    st.one_of(st.none(), DEBOUNCES, BATCHES),
    st.one_of(st.none(), LIMITS),
    st.booleans(),
)


def history(events: list[Drawn]) -> list[Event]:
    """Return the events as the log has them. Nothing happens at the same millisecond as something else: which is first would be anybody's guess."""
    found = []
    hundreds = BEGAN
    for number, one in enumerate(events):
        hundreds += one.gap
        at = hundreds + number
        ts = at + one.ts + (MOST if one.ts > 0 else 0)
        data = b'{"key": "%d", "loud": %s, "fill": "%s"}' % (
            one.key,
            b"true" if one.loud else b"false",
            b"x" * one.size,
        )
        identity = f"at:T/{one.partition}/{number}"
        found.append(Event("e", identity, f"t/{number}", ts, at, "t", one.partition, number, data))
    return sorted(found, key=lambda event: (event.timestamp, event.partition, event.offset))


def expected(events: list[Event], flow: Flow) -> tuple[set[tuple[int, tuple[int, ...]]], set[int]]:
    """Return the runs that the references make of a history, by the event that each is about and all that it has; and what is dropped."""
    runs: set[tuple[int, tuple[int, ...]]] = set()
    dropped: set[int] = set()
    for key in "01":
        found = naive.alone([event for event in events if b'"key": "%s"' % key.encode() in event.data])
        if flow.idempotency is not None:
            found = naive.idempotent(found, IDEMPOTENT_FOR)
        found = naive.delayed(found)
        if (debounce := flow.debounce) is not None:
            found = naive.debounced(found, debounce.period, debounce.max_wait or 0, debounce.keep)
        if (batch := flow.batch) is not None:
            wanted = _is_loud if batch.if_ else _any
            found = naive.batched(found, batch.size, batch.timeout, batch.max_bytes, wanted)
        passed = found
        if (rate := flow.rate_limit) is not None:
            passed = naive.limited(found, rate.limit, rate.per)
        runs |= {
            (run.event.offset, tuple(event.offset for event in sorted(run.events, key=naive.age))) for run in passed
        }
        dropped |= {run.event.offset for run in found if run not in passed}
    return runs, dropped


def _is_loud(event: Event) -> bool:
    return b'"loud": true' in event.data


def _any(event: Event) -> bool:
    return True


class App:
    """One function behind gates on several partitions, and what it does."""

    def __init__(self, flow: Flow, *, slow: bool) -> None:
        self.flow = flow
        self.network = Network(PARTITIONS, Function("f", ("1",), flow=flow), slow=slow)

    def give(self, event: Event, replay_id: str | None) -> None:
        """Route an event."""
        matched = match([Wish("f", None, self.flow, ())], event, PARTITIONS, replay_id)
        admit = Admit(event, matched.functions, replay_id, tuple(matched.asked), tuple(matched.unfit))
        self.network.give(home_partition(event.identity, PARTITIONS), admit)

    def live(self, events: list[Event]) -> None:
        """Have events come when they were on the log, and everything be done in its moment."""
        for event in events:
            self.until(event.timestamp)
            self.give(event, None)
            self.network.settle()
        self.until(None)

    def replay(self, events: list[Event], random: Random, at: int) -> None:
        """Have events come within seconds, in the order of each partition, while the leaders do what they have in any order."""
        network, lanes = self.network, [[event for event in events if event.partition == lane] for lane in (0, 1)]
        network.now = at
        while any(lanes):
            network.now += random.choice((0, 0, 1, 10))
            what = random.randrange(4)
            if what < 2 and lanes[what]:
                self.give(lanes[what].pop(0), "r1")
            elif what == 2 and (waiting := network.waiting()):
                network.decide(random.choice(waiting))
            elif what == 3 and (under_way := network.under_way()):
                network.deliver(*random.choice(under_way))
        assert network.now - at < event_time.HOLD, "what is late is another case"
        self.until(None)

    def until(self, at: int | None) -> None:
        """Do everything that is to be done by a time, or ever, each in its moment."""
        network = self.network
        network.settle()
        while (due := network.next_due()) is not None and (at is None or due <= at):
            network.now = max(network.now, due)
            network.settle()
        if at is not None:
            network.now = max(network.now, at)

    def done(self) -> tuple[set[tuple[int, tuple[int, ...]]], set[int]]:
        """Return the runs, by the event that each is about and all that it has, and what was dropped by the rate limit."""
        begun = [effect for effect in self.network.effects if isinstance(effect, Execute)]
        runs = {(one.event.offset, tuple(event.offset for event in one.events) or (one.event.offset,)) for one in begun}
        assert len(runs) == len(begun)
        limited = {
            told.offset
            for told in self.network.told
            if isinstance(told, EventDisposed) and told.disposition == "rate-limited"
        }
        return runs, limited

    def every_event_has_one_disposition(self, events: list[Event]) -> None:
        """Object unless each has one that is final."""
        finals: dict[int, list[str]] = defaultdict(list)
        for told in self.network.told:
            if isinstance(told, RunStarted):
                finals[told.offset].append("started")
            elif isinstance(told, EventDisposed) and told.disposition not in INTERIM:
                finals[told.offset].append(told.disposition)
        assert {offset: len(words) for offset, words in finals.items()} == {event.offset: 1 for event in events}

    def nothing_is_left(self) -> None:
        """Object to any state of gates; what runs have is still there, because none of them has ended."""
        tables = (GATES, CLAIMS, PLACES, TOKENS, BUFFERS, ENTRIES, HELD, ARRIVALS, KNOWN)
        for store in self.network.stores():
            assert [key for key in store.data for table in tables if key.startswith(table.prefix)] == []
        kept = sum(len(effect.events) for effect in self.network.effects if isinstance(effect, Execute))
        gathered = [key for store in self.network.stores() for key in store.data if key.startswith(GATHERED.prefix)]
        assert len(gathered) == kept


@settings(max_examples=300, deadline=None)
@given(drawn(GAPS), FLOWS)
def test_live_gates_do_what_the_references_do(events: list[Drawn], flow: Flow) -> None:
    log = history(events)
    app = App(flow, slow=False)
    app.live(log)
    assert app.done() == expected(log, flow)
    app.every_event_has_one_disposition(log)


@settings(max_examples=300, deadline=None)
@given(drawn((*GAPS, DAY // 2)), FLOWS, st.randoms(use_true_random=False))
def test_a_replay_does_what_the_references_do_by_event_time(events: list[Drawn], flow: Flow, random: Random) -> None:
    log = history(events)
    app = App(flow, slow=True)
    app.replay(log, random, BEGAN + 30 * DAY)
    assert app.done() == expected(log, flow)
    app.every_event_has_one_disposition(log)
    app.nothing_is_left()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 1_000, DAY // 3, DAY // 2, DAY - 1, DAY]), st.integers(0, 1)), max_size=12),
    st.booleans(),
)
def test_an_id_is_a_new_one_after_a_day_of_event_time(drawn: list[tuple[int, int]], gated: bool) -> None:
    """Idempotency keys stay those of the original runs; runs that an id has had before have ids of their own."""
    app = App(Flow(idempotency="event.id + string(event.ts)") if gated else Flow(), slow=False)
    app.network.now = BEGAN + 90 * DAY
    events = []
    at = BEGAN
    for number, (gap, which) in enumerate(drawn):
        at += gap
        events.append(Event("e", f"id:{which}", str(which), at, at, "t", 0, number, b"{}"))
        app.give(events[-1], "r1")
        app.network.settle()
    app.until(app.network.now + 2 * event_time.HOLD)
    kept = {
        run.event.offset
        for which in "01"
        for run in naive.idempotent(naive.alone([event for event in events if event.id == which]), DAY)
    }
    begun = [effect for effect in app.network.effects if isinstance(effect, Execute)]
    assert {effect.event.offset for effect in begun} == kept
    assert len({effect.run_id for effect in begun}) == len(kept)
    assert len({effect.run.root for effect in begun}) == len({event.id for event in events})
    app.every_event_has_one_disposition(events)
