"""Properties of the protocol's parts, over any input: fence, intake, router, outbox."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from stream_engine.core.functions.match import Matched
from stream_engine.core.identity import home_partition
from stream_engine.core.partition.fence import advance
from stream_engine.core.partition.intake import Receipt
from stream_engine.core.partition.outbox import (
    PARCEL_BYTES,
    Parcels,
    commands_queue,
    entry_key,
    entry_parts,
    next_number,
    post,
)
from stream_engine.core.partition.state import State
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.journal import FIRST, Decided, Event, JournalRecord, LeaderElected, Mark, encode
from stream_engine.core.records.requests import Cancel, Commands
from stream_engine.core.records.tables import OUTBOX, Intake, Outgoing
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.receive import Message, receive
from stream_engine.core.routing.route import Routed, Router
from tests.simulation.store import SimStore

PARTITIONS = 3


def _decided(epoch: int, n: int) -> Decided:
    return Decided(epoch, n, 0, 0, Mark(), [], [], [])


journals = st.lists(
    st.one_of(st.just(LeaderElected("w", 0)), st.builds(_decided, st.integers(-1, 12), st.integers(0, 4))), max_size=14
)


@given(journals)
def test_what_counts_is_one_gapless_series_for_each_epoch(journal: list[JournalRecord]) -> None:
    """Whatever is on the log, in whatever order it landed."""
    mark = Mark()
    series: dict[int, list[int]] = {}
    for offset, record in enumerate(journal):
        after = advance(mark, offset, record)
        if after is not None:
            assert after.offset == offset
            mark = after
            if isinstance(record, Decided):
                series.setdefault(record.epoch, []).append(record.n)
                newest = max(at for at in range(offset) if isinstance(journal[at], LeaderElected))
                assert record.epoch == newest
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in series.values())


@given(journals, st.data())
def test_a_reader_that_starts_in_the_middle_agrees(journal: list[JournalRecord], data: st.DataObject) -> None:
    """A mark is all that a reader has to remember, and reading a part again changes nothing."""
    marks = [Mark()]
    for offset, record in enumerate(journal):
        marks.append(advance(marks[-1], offset, record) or marks[-1])
    start = data.draw(st.integers(0, len(journal)))
    again = data.draw(st.integers(0, start))
    mark = marks[start]
    for offset in range(again, len(journal)):
        mark = advance(mark, offset, journal[offset]) or mark
    assert mark == marks[-1]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_dense_commands_are_applied_once_and_in_order(batches: list[tuple[int, int]]) -> None:
    """From any repeats and any gaps, only the next number is ever taken."""
    known: Intake | None = None
    applied: list[int] = []
    for first, count in batches:
        numbers = range(first, first + count)
        receipt = Receipt(known, Commands("journal/J/0", None, []))
        applied.extend(number for number in numbers if receipt.take(number))
        known = receipt.known()
        assert known == Intake(len(applied))
    assert applied == list(range(len(applied)))


@given(st.data())
def test_routed_commands_are_applied_once_however_they_arrive(data: st.DataObject) -> None:
    """Repeats from older and newer routers, in any order, whose floors are all true."""
    numbers = sorted(data.draw(st.sets(st.integers(0, 20), min_size=1)))
    arrivals = data.draw(st.permutations(numbers + data.draw(st.lists(st.sampled_from(numbers), max_size=10))))
    known: Intake | None = None
    applied: list[int] = []
    for number in arrivals:
        # A floor is true if everything below it, of this partition, has arrived.
        missing = [other for other in numbers if other not in applied]
        floor = data.draw(st.integers(0, min(missing, default=21)))
        receipt = Receipt(known, Commands("events/E/0/", floor, []))
        if receipt.take(number):
            applied.append(number)
        known = receipt.known()
        assert all(seen >= known.floor for seen in known.seen)
    assert sorted(applied) == sorted(set(arrivals))


def _messages(kinds: list[str]) -> list[Message]:
    values = {"taken": b'{"name":"a"}', "other": b'{"name":"b"}', "bad": b"{", "same": b'{"name":"a","id":"x"}'}
    return [Message("events", "E", 0, offset, 1_000, None, values[kind]) for offset, kind in enumerate(kinds)]


def _routed(router: Router, messages: list[Message], end: int) -> Routed:
    def match(event: Event, partitions: int, replay_id: str | None) -> Matched:
        return Matched(["f"] if event.name == "a" else [], [], [])

    return router.route([(message, receive(message, {})) for message in messages], end, match)


@given(st.lists(st.sampled_from(["taken", "other", "bad", "same"]), max_size=25), st.data())
def test_a_router_accounts_for_every_event_in_any_order_of_acknowledgements(
    kinds: list[str], data: st.DataObject
) -> None:
    """The floor never passes what is not acknowledged, ends at the end, and each event is routed exactly once."""
    messages = _messages(kinds)
    router = Router("E", 0, 0, PARTITIONS)
    at = 0
    waiting: list[tuple[int, int]] = []
    placed: list[tuple[int, int]] = []
    dead: list[int] = []
    while at < len(messages) or waiting:
        if waiting and (at == len(messages) or data.draw(st.booleans())):
            ticket, _ = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
            router.acknowledged(ticket)
        else:
            end = data.draw(st.integers(at + 1, len(messages)))
            routed = _routed(router, messages[at:end], end)
            waiting += [(routed.ticket, at)] * (len(routed.commands) + len(routed.dead_letters))
            for partition, raw in routed.commands:
                commands = decode_commands(raw)
                assert commands.floor is not None
                assert commands.floor <= at
                placed += [(partition, number) for number, _ in commands.items]
            dead += [letter.message.offset for letter in routed.dead_letters]
            at = end
        assert router.floor == min([start for _, start in waiting], default=router.floor)
    assert router.floor == len(messages)
    assert router.in_flight == 0
    _check_places(messages, placed, dead)


def _check_places(messages: list[Message], placed: list[tuple[int, int]], dead: list[int]) -> None:
    expected = []
    for message in messages:
        event = receive(message, {})
        if not isinstance(event, Rejection) and event.name == "a":
            expected.append((home_partition(event.identity, PARTITIONS), event.offset))
    assert sorted(placed) == sorted(expected)
    assert dead == [message.offset for message in messages if isinstance(receive(message, {}), Rejection)]


@given(st.lists(st.sampled_from(["commands/1", "topic/a", "topic/ä.b"]), max_size=30))
def test_an_outbox_keeps_each_queue_in_its_order(queues: list[str]) -> None:
    """The store's order of a queue is the order of its messages, with dense numbers."""
    state = State(SimStore())
    keys = [post(state, queue, next_number(state, queue), Outgoing("t", 0, None, queue.encode())) for queue in queues]
    for queue in set(queues):
        stored = [entry_parts(key) for key, _ in state.scan(OUTBOX, OUTBOX.prefix, OUTBOX.stop)]
        mine = [number for name, number in stored if name == queue]
        assert mine == list(range(queues.count(queue)))
        assert entry_key(queue, 0) in keys


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, PARCEL_BYTES)), max_size=12), max_size=3))
def test_commands_travel_together_in_their_order_and_none_is_missing(turns: list[list[tuple[int, int]]]) -> None:
    """Each turn's commands for a partition are in as few messages as have room for them; their numbers are dense, over all turns."""
    state = State(SimStore())
    for turn in turns:
        parcels = Parcels(state)
        for partition, size in turn:
            parcels.add(commands_queue(partition), "commands", partition, Cancel("run", "x" * size))
        packed = parcels.size
        keys = parcels.post("source", FIRST)
        sizes: dict[str, list[int]] = defaultdict(list)
        for key in keys:
            message = state.get(OUTBOX, key)
            assert message is not None
            assert message.value is not None
            [*firsts, last] = [len(encode(item)) for item in decode_commands(message.value).items]
            assert sum(firsts) <= PARCEL_BYTES
            sizes[entry_parts(key)[0]].append(sum(firsts) + last)
        assert all(size > PARCEL_BYTES for full in sizes.values() for size in full[:-1])
        assert sum(map(sum, sizes.values())) <= packed
    expected = [[(p, size) for turn in turns for p, size in turn if p == partition] for partition in range(3)]
    for partition, commands in enumerate(expected):
        numbered = [
            item
            for key, message in state.scan(OUTBOX, OUTBOX.prefix, OUTBOX.stop)
            if entry_parts(key)[0] == commands_queue(partition)
            for item in decode_commands(message.value or b"").items
        ]
        assert numbered == [(n, Cancel("run", "x" * size)) for n, (_, size) in enumerate(commands)]
