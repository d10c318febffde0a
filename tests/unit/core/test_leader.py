"""The seam of a leader, where a transcript would not show what is refused or left alone."""

import pytest

from stream_engine.core.failure import Failure
from stream_engine.core.leading.leader import AT_ONCE, LET_IN
from stream_engine.core.partition.change import DeposedError, Take
from stream_engine.core.partition.turn import FULL_BYTES, Deliver, Execute, Release
from stream_engine.core.records.decoding import decode_journal
from stream_engine.core.records.history import RunChanged
from stream_engine.core.records.journal import Mark
from stream_engine.core.stages.commands import FinishRun, Input, RecordStep, RetryRun, Sleep, Suspend
from tests.golden.leader_bench import routed
from tests.unit.core.partition import Partition

_ERROR = Failure("E", "e")


@pytest.mark.parametrize("offset", [None, 0, 2, 99])
def test_an_append_at_another_offset_deposes(offset: int | None) -> None:
    partition = Partition()
    assert partition.leader.decide([routed(0, 5, ts=0)], 10) is not None
    with pytest.raises(DeposedError):
        partition.leader.acknowledged(offset)


def test_a_report_without_an_append_deposes() -> None:
    with pytest.raises(DeposedError):
        Partition().leader.acknowledged(1)


def test_it_is_busy_from_the_decision_to_the_acknowledgement() -> None:
    partition = Partition()
    leader = partition.leader
    busy = [leader.busy]
    leader.decide([routed(0, 5, ts=0)], 10)
    busy.append(leader.busy)
    leader.acknowledged(1)
    busy.append(leader.busy)
    assert busy == [False, True, False]
    assert (leader.commands, leader.running) == (1, 1)


def test_with_nothing_to_say_it_appends_nothing() -> None:
    assert Partition().leader.decide([], 10) is None


def test_renewing_the_lease_is_a_record_that_changes_nothing() -> None:
    partition = Partition()
    record = decode_journal(partition.leader.renew(10))
    committed = partition.leader.acknowledged(1)
    assert (getattr(record, "puts", None), getattr(record, "deletes", None)) == ([], [])
    assert (committed.sends, committed.told.records, committed.effects) == ([], [], [])


def test_an_idle_partition_falls_silent_even_if_empty_tellings_are_reported() -> None:
    """Each record's mark may be reported as told; only one that told something is worth a record."""
    partition = Partition()
    partition.begin(5)
    leader = partition.leader
    unmarked = [leader.unmarked]
    leader.told(Mark(1, 0, 1))
    unmarked.append(leader.unmarked)
    leader.told(partition.step(20).told.mark)
    unmarked.append(leader.unmarked)
    assert unmarked == [False, True, False]
    assert leader.decide([], 30) is None


def test_what_an_earlier_term_told_is_worth_a_mark_as_well() -> None:
    partition = Partition()
    partition.begin(5)
    leader = partition.take_over()
    partition.step(20)
    leader.told(Mark(1, 0, 1))
    assert not leader.unmarked, "nothing is known to be untold: this store's tail was not read again"


def test_steps_of_a_failed_attempt_do_not_cut_its_delay_short() -> None:
    partition = Partition()
    (run,) = partition.begin(5)
    partition.step(20, Sleep(run, "nap", 50), RetryRun(run, 1_000, _ERROR))
    assert partition.step(70).effects == []
    assert partition.leader.due() == 1_020
    effects = partition.step(1_020).effects
    assert [type(effect).__name__ for effect in effects] == ["Execute", "Deliver"]


def test_a_takeover_resumes_running_runs_a_number_at_a_time() -> None:
    partition = Partition()
    runs = partition.begin(*range(AT_ONCE + 3))
    leader = partition.take_over()
    assert leader.due() == 0
    first, second = partition.step(20), partition.step(20)
    executed = [effect.run_id for effect in (*first.effects, *second.effects) if isinstance(effect, Execute)]
    assert (len(first.effects), len(second.effects)) == (AT_ONCE, 3)
    assert sorted(executed) == sorted(runs)
    assert leader.due() is None


def test_a_takeover_of_very_many_sleeping_runs_decides_meanwhile() -> None:
    partition = Partition()
    for first in range(0, 2_500, 100):
        asleep = partition.begin(*range(first, first + 100))
        partition.step(20, *(command for run in asleep for command in (Sleep(run, "nap", 3_600_000), Suspend(run, 0))))
    leader = partition.take_over()
    assert leader.due() == 0
    assert len(partition.begin(3_000)) == 1
    looks = 0
    while leader.due() == 0:
        assert leader.decide([], 30) is None
        looks += 1
    assert looks == 2_501 // AT_ONCE  # and one with what had begun
    assert leader.due() == 3_600_020


def test_a_wish_to_be_unloaded_is_granted_only_while_it_is_true() -> None:
    partition = Partition()
    (run,) = partition.begin(5)
    assert partition.step(20, Suspend(run, 0)).effects == [], "it waits for no timer"
    partition.step(30, Sleep(run, "nap", 50))
    assert partition.step(40, Suspend(run, 1)).effects == [], "it speaks of another outcome"
    assert partition.step(50, Suspend(run, 0)).effects == [Release(run)]


def test_a_result_is_recorded_once() -> None:
    partition = Partition()
    (run,) = partition.begin(5)
    partition.step(20, RecordStep(run, "a", 0, 15, b"1"))
    again = partition.step(30, RecordStep(run, "a", 0, 15, b"2"))
    assert (again.effects, again.told.records) == ([], [])


def test_nothing_is_taken_from_a_run_that_ended() -> None:
    partition = Partition()
    (run,) = partition.begin(5)
    partition.step(20, FinishRun(run, b"1"))
    late: list[Input] = [
        RecordStep(run, "a", 0, 15, b"1"),
        Sleep(run, "b", 5),
        Suspend(run, 0),
        RetryRun(run, 5, _ERROR),
    ]
    committed = partition.step(30, *late, FinishRun(run, b"2"))
    assert (committed.effects, committed.told.records) == ([], [])
    assert partition.leader.running == 0


def test_journal_time_does_not_go_back() -> None:
    partition = Partition()
    (run,) = partition.begin(5)
    committed = partition.step(3, Sleep(run, "nap", 50))
    assert [told.at for told in committed.told.records] == [10]
    assert partition.leader.due() == 60


def test_a_sleep_of_a_run_whose_timer_came_due_while_it_waited_for_its_turn_is_over() -> None:
    partition = Partition()
    (run,) = partition.begin(5)
    partition.step(20, Sleep(run, "nap", 50))
    partition.take_over()
    committed = partition.step(70)
    assert [type(effect).__name__ for effect in committed.effects] == ["Execute", "Deliver"]
    assert not any(isinstance(told, RunChanged) for told in committed.told.records)


def test_a_full_record_leaves_the_rest_for_the_next() -> None:
    partition = Partition()
    runs = partition.begin(1, 2, 3)
    inputs: list[Take | Input] = [RecordStep(run, "big", 0, 10, b"1" * FULL_BYTES) for run in runs]
    left = []
    while inputs:
        assert partition.leader.decide(inputs, 20) is not None
        left.append(len(inputs))
        committed = partition.leader.acknowledged(partition.end)
        partition.end += 1
        partition.store.write(committed.change)
        assert [type(effect) for effect in committed.effects] == [Deliver]
    assert left == [2, 1, 0]


def test_runs_that_wait_are_let_in_a_number_at_a_time() -> None:
    partition = Partition(places=1)
    partition.begin(*range(LET_IN + 3))
    waiting = LET_IN + 2
    partition.places = 1_000
    partition.take_over()
    assert partition.leader.due() == 0
    begun = [len(partition.step(20).effects) for _ in range(2)]
    assert begun == [1 + LET_IN, waiting - LET_IN]
    assert partition.leader.due() is None


def test_a_takeover_executes_no_more_than_there_is_room_for() -> None:
    partition = Partition()
    partition.begin(*range(20))
    partition.places = 3
    leader = partition.take_over()
    committed = partition.step(20)
    assert len([effect for effect in committed.effects if isinstance(effect, Execute)]) == 3
    assert [told.change for told in committed.told.records if isinstance(told, RunChanged)] == ["queued"] * 17
    assert (leader.running, leader.due()) == (3, None)


def test_a_timer_of_a_run_that_waits_for_room_is_kept_in_mind() -> None:
    partition = Partition(places=1)
    (first,) = partition.begin(5)
    partition.step(20, Sleep(first, "nap", 50))
    partition.step(30, Suspend(first, 0))
    (second,) = partition.begin(6)
    assert partition.step(70).effects == [], "there is no room"
    partition.take_over()
    assert [effect.run_id for effect in partition.step(80).effects] == [second]
    partition.step(90, FinishRun(second, b"1"))
    execute, deliver = partition.step(100).effects
    assert isinstance(execute, Execute)
    assert isinstance(deliver, Deliver)
    assert (execute.run_id, deliver.step_id, deliver.step.status) == (first, "nap", "completed")


def test_a_run_that_waits_for_room_is_executed_in_its_turn_only() -> None:
    """A timer that comes due when there happens to be room does not let it in a second time."""
    partition = Partition(places=1)
    (first,) = partition.begin(5)
    partition.step(20, Sleep(first, "short", 50), Sleep(first, "long", 100))
    partition.step(30, Suspend(first, 0))
    (second,) = partition.begin(6)
    partition.step(70)
    partition.step(90, FinishRun(second, b"1"))
    committed = partition.step(120)
    assert [effect.run_id for effect in committed.effects if isinstance(effect, Execute)] == [first]
    partition.step(130, RetryRun(first, 1_000, _ERROR))
    assert partition.leader.due() == 1_130


def test_a_full_function_leaves_room_for_another() -> None:
    partition = Partition(places=100)
    begun = partition.begin(*range(200))
    assert len(begun) == 95
    assert partition.room.has("other")


def test_what_a_term_held_of_the_room_is_free_when_it_ends() -> None:
    partition = Partition(places=10)
    run, *_ = partition.begin(1, 2, 3)
    assert partition.room.free == 7
    partition.leader.decide([FinishRun(run, b"1")], 20)
    assert partition.room.free == 7, "whether its end counts is not known yet"
    partition.leader.close()
    partition.leader.close()
    assert partition.room.free == 10
