"""What runs is decided upon before commands that wait, even if there are more of them than one record has room for."""

from collections import deque

from stream_engine.core.partition.change import Take
from stream_engine.core.records.history import RunEnded, RunStarted
from stream_engine.core.stages.commands import FinishRun, Input
from stream_engine.shell.leading.inputs import Inputs
from tests.golden.leader_bench import routed
from tests.unit.core.partition import Partition


def _take(partition: Partition, *offsets: int) -> list[Take]:
    return [routed(partition.leader.commands, *offsets, ts=0)]


def _decide(partition: Partition, inputs: Inputs, *, intake: bool = True) -> list[type]:
    """Decide once; return the kinds of what history is told."""
    assert inputs.decide(partition.leader, 20, intake=intake) is not None
    return [type(record) for record in partition.commit().told.records]


def test_the_rest_of_a_large_record_of_commands_waits_behind_what_is_reported_meanwhile() -> None:
    partition, inputs = Partition(10_000), Inputs(lambda _: None)
    [run] = partition.begin(0)
    inputs.arrived(_take(partition, *range(1, 3_000)))
    assert inputs.collect(deque(), intake=True)
    begun = _decide(partition, inputs)
    assert set(begun) == {RunStarted}
    reports = deque[Input]([FinishRun(run, b"1")])
    assert inputs.collect(reports, intake=True)
    then = _decide(partition, inputs)
    assert then[0] is RunEnded
    while inputs.commands_wait and len(then) < 3_000:
        then += _decide(partition, inputs)
    assert (begun + then).count(RunStarted) == 2_999
    assert (begun + then).count(RunEnded) == 1


def test_without_intake_commands_are_left_alone() -> None:
    partition, inputs = Partition(), Inputs(lambda _: None)
    [run] = partition.begin(0)
    inputs.arrived(_take(partition, 1))
    assert not inputs.collect(deque(), intake=False)
    assert inputs.collect(deque[Input]([FinishRun(run, b"1")]), intake=False)
    assert _decide(partition, inputs, intake=False) == [RunEnded]
    assert inputs.commands_wait
    assert inputs.collect(deque(), intake=True)
    assert _decide(partition, inputs) == [RunStarted]
    assert not inputs.commands_wait


def test_nothing_is_kept_for_another_reading() -> None:
    partition, inputs = Partition(), Inputs(lambda _: None)
    inputs.arrived(_take(partition, 1))
    inputs.begin_anew()
    assert not inputs.commands_wait
    assert not inputs.collect(deque(), intake=True)
