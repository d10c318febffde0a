"""What waits in memory between the commands topic and the leader is bounded in bytes."""

from stream_engine.core.partition.change import Take
from stream_engine.core.records.requests import Commands
from stream_engine.shell.leading.backlog import Backlog

KIB = 1024


def _takes(*sizes: int, first: int = 0) -> list[Take]:
    return [Take(first + number, Commands("s", 0, []), size) for number, size in enumerate(sizes)]


def test_reading_is_held_while_much_waits_and_goes_on_when_half_of_it_is_taken() -> None:
    held: list[bool] = []
    backlog = Backlog(held.append)
    backlog.add(_takes(*[512 * KIB] * 4))
    assert held == []
    backlog.add(_takes(1, first=4))
    backlog.add(_takes(1, first=5))
    assert held == [True]
    assert [take.offset for take in backlog.take(2)] == [0, 1]
    assert held == [True]
    assert [take.offset for take in backlog.take(9)] == [2, 3, 4, 5]
    assert held == [True, False]


def test_a_reading_that_begins_anew_is_not_held() -> None:
    held: list[bool] = []
    backlog = Backlog(held.append)
    backlog.add(_takes(3 * KIB * KIB))
    backlog.begin_anew()
    assert backlog.take(9) == []
    backlog.add(_takes(3 * KIB * KIB))
    assert held == [True, True]
