"""What is running when the lead is given up stays with its worker, and is returned, refused, or begun again."""

from collections.abc import Iterable

import pytest

from stream_engine.core.failure import Failure
from stream_engine.core.partition.change import Committed, Take
from stream_engine.core.partition.turn import Attempt, Deliver, Execute
from stream_engine.core.records.history import (
    CompletionDisposed,
    EventDisposed,
    HistoryRecord,
    RunChanged,
    RunEnded,
    RunStarted,
    StepRecorded,
)
from stream_engine.core.records.requests import Cancel, Command, Commands, ReturnRun, ReturnStep
from stream_engine.core.records.tables import RUNS, STEPS
from stream_engine.core.stages.commands import FinishRun, LendRun, LendStep, RecordStep, Stopped, Suspend
from tests.unit.core.partition import Partition

_ERROR = Failure("E", "e")


class Handed(Partition):
    """A partition that was handed over at 100, while a step of its one run was running, or the run's code."""

    def __init__(self, *, step: bool, lease: int = 1_000) -> None:
        super().__init__()
        [self.run] = self.begin(5)
        self.step(20, RecordStep(self.run, "before", 0, 15, b"1"))
        if step:
            self.step(100, LendStep(self.run, "slow", 0, 30, lease))
        else:
            self.step(100, LendRun(self.run, lease))
        self.take_over()

    def receive(self, now: int, command: Command) -> Committed:
        """Have a command arrive."""
        return self.step(now, Take(self.leader.commands, Commands("", None, [(0, command)])))


def test_the_next_leader_executes_the_run_and_waits_for_the_lent_step() -> None:
    partition = Handed(step=True)
    [execute] = partition.step(200).effects
    assert isinstance(execute, Execute)
    assert {name: step.status for name, step in execute.steps.items()} == {"before": "completed", "slow": "lent"}
    assert partition.leader.due() == 1_100
    committed = partition.receive(300, ReturnStep(partition.run, "slow", 0, 30, b"2"))
    [deliver] = committed.effects
    assert isinstance(deliver, Deliver)
    assert (deliver.step_id, deliver.step.result, deliver.step.order) == ("slow", b"2", 1)
    [recorded] = committed.told.records
    assert isinstance(recorded, StepRecorded)
    assert (recorded.started_at, recorded.status, recorded.at) == (30, "completed", 300)


def test_it_is_returned_once() -> None:
    partition = Handed(step=True)
    partition.step(200)
    returned = ReturnStep(partition.run, "slow", 0, 30, b"2")
    partition.receive(300, returned)
    again = partition.receive(310, returned)
    assert (again.effects, again.told.records) == ([], [])


def test_what_is_not_returned_in_time_is_begun_again_with_the_same_attempt() -> None:
    partition = Handed(step=True)
    partition.step(200)
    assert partition.step(1_100).effects == [Attempt(partition.run, "slow", 0)]
    late = partition.receive(1_200, ReturnStep(partition.run, "slow", 0, 30, b"2"))
    assert (late.effects, late.told.records) == ([], [])
    [execute] = _after_a_crash(partition, 1_300)
    assert execute == Attempt(partition.run, "slow", 0)


def test_what_did_not_come_to_its_end_is_begun_again_at_once() -> None:
    partition = Handed(step=True)
    partition.step(200)
    given_up = ReturnStep(partition.run, "slow", 0, 30, None)
    assert partition.receive(300, given_up).effects == [Attempt(partition.run, "slow", 0)]
    assert partition.receive(310, given_up).effects == []
    partition = Handed(step=True)
    partition.step(200)
    partition.step(210, Suspend(partition.run, 0))
    execute, attempt = partition.receive(300, given_up).effects
    assert isinstance(execute, Execute)
    assert attempt == Attempt(partition.run, "slow", 0)


def test_a_failure_is_returned_like_a_result() -> None:
    partition = Handed(step=True)
    partition.step(200)
    partition.receive(300, ReturnStep(partition.run, "slow", 0, 30, None, _ERROR, 50))
    assert partition.step(350).effects == [Attempt(partition.run, "slow", 1)]
    partition = Handed(step=True)
    partition.step(200)
    [deliver] = partition.receive(300, ReturnStep(partition.run, "slow", 0, 30, None, _ERROR)).effects
    assert isinstance(deliver, Deliver)
    assert (deliver.step.status, deliver.step.error) == ("failed", _ERROR)


def test_a_run_that_was_unloaded_while_it_waits_is_executed_when_the_step_is_returned() -> None:
    partition = Handed(step=True)
    partition.step(200)
    partition.step(210, Suspend(partition.run, 0))
    assert partition.leader.running == 0
    effects = partition.receive(300, ReturnStep(partition.run, "slow", 0, 30, b"2")).effects
    execute = effects[-1]
    assert isinstance(execute, Execute)
    assert execute.steps["slow"].status == "completed"


def test_code_that_runs_outside_of_steps_is_not_executed_while_it_is_lent() -> None:
    partition = Handed(step=False)
    assert partition.leader.decide([], 100) is None
    assert partition.leader.due() == 1_100
    ended = partition.receive(300, ReturnRun(partition.run, 0, b"9"))
    [record] = ended.told.records
    assert isinstance(record, RunEnded)
    assert (record.status, record.result) == ("completed", "9")
    assert partition.store.get(RUNS.key(partition.run)) is None
    assert partition.store.get(STEPS.key(partition.run, "before")) is None


@pytest.mark.parametrize(("retry_in", "what"), [(None, "failed"), (50, "retrying")])
def test_how_lent_code_failed_is_returned(retry_in: int | None, what: str) -> None:
    partition = Handed(step=False)
    [record] = partition.receive(300, ReturnRun(partition.run, 0, None, _ERROR, retry_in)).told.records
    assert not isinstance(record, StepRecorded | EventDisposed | RunStarted | CompletionDisposed)
    assert (record.change if isinstance(record, RunChanged) else record.status) == what


def test_lent_code_that_asks_for_another_step_is_executed_anew() -> None:
    partition = Handed(step=False)
    [execute] = partition.receive(300, ReturnRun(partition.run, 0, None)).effects
    assert isinstance(execute, Execute)
    assert set(execute.steps) == {"before"}
    assert partition.receive(310, ReturnRun(partition.run, 0, b"9")).effects == []


def test_lent_code_that_is_not_returned_is_executed_again() -> None:
    partition = Handed(step=False)
    [execute] = partition.step(1_100).effects
    assert isinstance(execute, Execute)
    assert partition.receive(1_200, ReturnRun(partition.run, 0, b"9")).effects == []


def test_what_ended_before_it_could_be_lent_is_not_lent() -> None:
    partition = Partition()
    [run] = partition.begin(5)
    partition.step(20, RecordStep(run, "quick", 0, 15, b"1"))
    partition.step(30, LendStep(run, "quick", 0, 15, 1_000), LendStep("nobody-0", "quick", 0, 15, 1_000))
    partition.take_over()
    [execute] = partition.step(40).effects
    assert isinstance(execute, Execute)
    assert execute.steps["quick"].status == "completed"


def _outcomes(records: Iterable[HistoryRecord]) -> list[tuple[str, str, int, int]]:
    steps = [record for record in records if isinstance(record, StepRecorded)]
    return [(step.step_id, step.status, step.attempt, step.started_at) for step in steps]


def _after_a_crash(partition: Partition, now: int) -> list[object]:
    """Take the lead over once more; return the effects that are about steps."""
    partition.take_over()
    return [effect for effect in partition.step(now).effects if not isinstance(effect, Execute)]


def test_a_cancelled_run_ends_only_once_its_lent_code_has_stopped() -> None:
    partition = Handed(step=False)
    assert partition.receive(200, Cancel(partition.run, "ada")).told.records == []
    [record] = partition.receive(300, ReturnRun(partition.run, 0, b"9")).told.records
    assert isinstance(record, RunEnded)
    assert (record.status, record.detail) == ("cancelled", "ada")


@pytest.mark.parametrize("step", [True, False])
def test_what_is_lent_of_a_cancelled_run_is_waited_for_no_longer_than_its_lease(step: bool) -> None:
    partition = Handed(step=step)
    if step:
        partition.step(200)
    partition.receive(300, Cancel(partition.run, "ada"))
    if step:
        assert partition.step(310, Stopped(partition.run)).told.records == []
    *before, record = partition.step(1_100).told.records
    assert isinstance(record, RunEnded)
    assert (record.status, record.at) == ("cancelled", 1_100)
    assert _outcomes(before) == ([("slow", "interrupted", 0, 30)] if step else [])


@pytest.mark.parametrize("suspended", [True, False])
@pytest.mark.parametrize("taken_over", [True, False])
def test_a_cancelled_run_ends_only_once_its_lent_step_has_stopped(suspended: bool, taken_over: bool) -> None:
    partition = Handed(step=True)
    partition.step(200)
    if suspended:
        partition.step(210, Suspend(partition.run, 0))
        partition.receive(220, Cancel(partition.run, "ada"))
    else:
        partition.receive(220, Cancel(partition.run, "ada"))
        partition.step(230, Stopped(partition.run))
    assert partition.leader.running == 0
    if taken_over:
        partition.take_over()
        partition.step(240)
    *before, record = partition.receive(300, ReturnStep(partition.run, "slow", 0, 30, b"2")).told.records
    assert isinstance(record, RunEnded)
    assert (record.status, record.detail) == ("cancelled", "ada")
    assert _outcomes(before) == [("slow", "interrupted", 0, 30)]
    assert partition.receive(310, ReturnStep(partition.run, "slow", 0, 30, b"2")).told.records == []


def test_a_lent_step_of_a_run_that_ends_without_it_is_interrupted() -> None:
    partition = Handed(step=True)
    partition.step(200)
    *before, ended = partition.step(300, FinishRun(partition.run, b"1")).told.records
    assert isinstance(ended, RunEnded)
    assert ended.status == "completed"
    assert _outcomes(before) == [("slow", "interrupted", 0, 30)]
    assert partition.receive(310, ReturnStep(partition.run, "slow", 0, 30, b"2")).told.records == []


def test_what_is_still_running_of_a_cancelled_run_may_be_lent_as_well() -> None:
    partition = Partition()
    [run] = partition.begin(5)
    partition.step(20, Take(partition.leader.commands, Commands("", None, [(0, Cancel(run, "ada"))])))
    partition.step(100, LendStep(run, "slow", 0, 15, 1_000))
    partition.take_over()
    assert partition.step(200).told.records == []
    *before, ended = partition.step(
        300, Take(partition.leader.commands, Commands("", None, [(1, ReturnStep(run, "slow", 0, 15, None))]))
    ).told.records
    assert isinstance(ended, RunEnded)
    assert (ended.status, ended.detail) == ("cancelled", "ada")
    assert _outcomes(before) == [("slow", "interrupted", 0, 15)]
