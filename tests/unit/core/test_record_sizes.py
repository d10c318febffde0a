"""No record of a journal grows beyond what Kafka takes, however much comes at once or follows from one thing."""

from msgspec.structs import replace

from stream_engine.core.functions.flow import CancelOn, Flow
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.change import Take
from stream_engine.core.partition.turn import FULL_BYTES, Execute, Function
from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Call, Caller, Cancel, Command, Commands, Reused
from stream_engine.core.records.tables import GATES, TOKENS
from stream_engine.core.stages.commands import FinishRun
from stream_engine.core.stages.reuse import excess
from stream_engine.shell.clients import MAX_RECORD_BYTES
from tests.unit.core.network import Network
from tests.unit.core.partition import Partition

_LARGE = b'"' + b"x" * (512 * 1024 - 200) + b'"'
_LONG = "n" * 250


def event(offset: int, data: bytes = b"{}", ts: int = 0) -> Event:
    return Event(_LONG, f"id:{offset:0250}", f"{offset:0250}", ts, 0, _LONG, 0, offset, data)


def gate(kind: str, number: int, partition: int, limit: int, *, per: int = 0, most: int = 0) -> Gate:
    return Gate(kind, f"{kind}-{number}".ljust(24, "x"), "f", "k" * 100, partition, limit, per, most)


def asked(function: str, *gates: Gate) -> Asked:
    return Asked(function, gates, gates[-1].partition)


def network(partitions: int) -> Network:
    return Network(partitions, Function("f", ("1",)))


def admits(count: int, one: Asked, data: bytes = b"{}", ts: int = 0) -> list[Command]:
    return [Admit(event(offset, data, ts), [], None, (one,)) for offset in range(count)]


def largest(of: Network) -> int:
    return max(of.sizes)


def test_many_large_results_at_once_are_several_records() -> None:
    partition = Partition()
    runs = partition.begin(*range(30))
    inputs: list[Take | FinishRun] = [FinishRun(run, _LARGE) for run in runs]
    ended = []
    while inputs:
        raw = partition.leader.decide(inputs, 20)  # type: ignore[arg-type] # the shell's list has more kinds
        assert raw is not None
        assert len(raw) < MAX_RECORD_BYTES
        committed = partition.leader.acknowledged(partition.end)
        partition.end += 1
        ended += [record.run_id for record in committed.told.records if isinstance(record, RunEnded)]
    assert sorted(ended) == sorted(runs)


def test_many_large_events_whose_time_has_come_are_several_records() -> None:
    app = network(2)
    app.give(0, *admits(30, asked("f", gate("concurrency", 1, 1, 100)), _LARGE, ts=5_000))
    app.settle()
    app.now = 5_000
    app.settle()
    assert largest(app) < MAX_RECORD_BYTES
    assert sum(isinstance(record, RunStarted) for record in app.told) == 30


def test_a_large_event_for_many_functions_with_gates_elsewhere_is_several_records() -> None:
    functions = [f"f{number}" for number in range(40)]
    app = Network(2, *(Function(function, ("1",)) for function in functions))
    wanted = tuple(asked(function, gate("concurrency", number, 1, 1)) for number, function in enumerate(functions))
    app.give(0, Admit(event(0, _LARGE), ["f0"], None, wanted[1:]))
    app.settle()
    assert largest(app) < MAX_RECORD_BYTES
    assert sorted(record.function for record in app.told if isinstance(record, RunStarted)) == sorted(functions)


def test_a_record_of_very_many_commands_is_taken_in_parts_each_command_once() -> None:
    app = network(1)
    wanted = tuple(asked("f", gate("concurrency", number, 0, 1)) for number in range(4))
    items: list[tuple[int, Command]] = [(offset, Admit(event(offset), [], None, wanted[:1])) for offset in range(2_000)]
    app.arrive(0, Commands("events/t/0/", 0, items))
    app.decide(0)
    app.take_over(0)
    app.settle()
    assert largest(app) < MAX_RECORD_BYTES
    assert len(app.sizes) > 2
    runs = [record.run_id for record in app.told if isinstance(record, EventDisposed | RunStarted)]
    assert len(runs) == len(set(runs)) == 2_000


def test_the_largest_batch_is_told_in_parts_and_begins_then() -> None:
    app = network(1)
    app.give(0, *admits(10_000, asked("f", gate("batch", 1, 0, 10_000, per=1_000, most=10**7))))
    app.settle()
    [execute] = [effect for effect in app.effects if isinstance(effect, Execute)]
    assert len(execute.events) == 10_000
    told = [record for record in app.told if isinstance(record, EventDisposed) and record.disposition == "batched"]
    assert len({record.offset for record in told}) == len(told) == 9_999
    app.post(partition_of(execute.run_id), FinishRun(execute.run_id, b"1"))
    app.settle()
    assert largest(app) < MAX_RECORD_BYTES


def test_the_largest_batch_is_cancelled_in_parts() -> None:
    app = network(2)
    wanted = asked("f", gate("batch", 1, 1, 10_000, per=1_000, most=10**7))
    app.give(0, *admits(9_000, wanted))
    app.settle()
    [run] = {record.run_id for record in app.told if isinstance(record, EventDisposed)}
    app.give(partition_of(run), Cancel(run, "ada", seek=True))
    app.settle()
    told = [record for record in app.told if isinstance(record, EventDisposed) and record.disposition == "cancelled"]
    assert sorted(record.offset for record in told) == list(range(9_000))
    assert largest(app) < MAX_RECORD_BYTES


def test_what_a_wide_window_has_held_is_forgotten_in_parts() -> None:
    app = network(1)
    app.give(0, *admits(5_000, asked("f", gate("rate limit", 1, 0, 5_000, per=1_000))))
    app.settle()
    app.sizes.clear()
    app.now += 1_000
    app.settle()
    assert largest(app) < FULL_BYTES
    [store] = app.stores()
    assert not [key for key in store.data if key[:1] in (GATES.prefix, TOKENS.prefix)]


def test_what_a_run_may_take_over_fits_into_a_record_with_its_event() -> None:
    app = network(1)
    steps = tuple(Reused(f"s{number}", "run", 0, 1, 2, _LARGE) for number in range(2))
    assert excess(steps) is None
    app.give(0, *(replace(admit, reused=steps) for admit in admits(3, asked("f", gate("singleton", 1, 0, 1)), _LARGE)))
    app.settle()
    assert largest(app) < MAX_RECORD_BYTES
    assert any(isinstance(record, RunStarted) for record in app.told)


def test_a_call_whose_event_is_compared_with_all_that_may_cancel_it() -> None:
    """The value that is compared is nearly all of the event, and the conditions are about all of it."""
    is_same = "event.data == async_event.data"
    events = tuple(CancelOn(f"event {number}", "data", "data", is_same, needs_event=True) for number in range(5))
    for partitions in (1, 3):
        app = Network(partitions, Function("f", ("1",), flow=Flow(cancel_on=events)))
        caller = Caller("commands", f"{'a' * 24}-0", _LONG, ("app/function",) * 32)
        app.give(0, Call("f", f"{'b' * 24}-0", event(7, _LARGE), caller))
        app.settle()
        assert any(isinstance(effect, Execute) for effect in app.effects)
        assert largest(app) < MAX_RECORD_BYTES
