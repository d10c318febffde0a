"""What waits in memory between the commands topic and the leader is bounded in bytes."""

from stream_engine.core.change import Take
from stream_engine.core.records import Commands
from stream_engine.shell.backlog import Backlog
from tests.golden.leader_bench import routed

KIB = 1024


def _takes(*sizes: int, first: int = 0) -> list[Take]:
    return [Take(first + number, Commands("s", 0, []), 100 + number, size) for number, size in enumerate(sizes)]


def test_reading_is_held_while_much_waits_and_goes_on_when_half_of_it_is_taken() -> None:
    held: list[bool] = []
    backlog = Backlog(held.append)
    backlog.add(_takes(*[512 * KIB] * 4))
    assert held == []
    backlog.add(_takes(1, first=4))
    backlog.add(_takes(1, first=5))
    assert held == [True]
    assert [take.offset for take in backlog.take(2, 1)] == [0, 1]
    assert held == [True]
    backlog.take(1, 1)
    assert held == [True, False]


def test_no_more_is_taken_once_there_are_as_many_commands_as_there_is_room_for() -> None:
    backlog = Backlog(lambda held: None)
    backlog.add([routed(0, 1, 2, 3), Take(1, None), routed(2, 4, 5), routed(3, 6)])
    assert [take.offset for take in backlog.take(10, 4)] == [0, 1, 2]
    assert backlog.take(10, 0) == []
    assert [take.offset for take in backlog.take(10, 1)] == [3]


def test_the_oldest_is_the_first_that_was_not_taken() -> None:
    backlog = Backlog(lambda held: None)
    assert backlog.oldest is None
    backlog.add(_takes(1, 1))
    backlog.take(1, 1)
    assert backlog.oldest == 101


def test_a_reading_that_begins_anew_is_not_held() -> None:
    held: list[bool] = []
    backlog = Backlog(held.append)
    backlog.add(_takes(3 * KIB * KIB))
    backlog.begin_anew()
    assert (backlog.oldest, backlog.take(9, 9)) == (None, [])
    backlog.add(_takes(3 * KIB * KIB))
    assert held == [True, True]
