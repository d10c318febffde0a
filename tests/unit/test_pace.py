"""Whether the event loop keeps up is noticed while it does not, and for a moment after."""

import asyncio
from collections.abc import Sequence

import pytest

from stream_engine.core.partition.turn import Effect
from stream_engine.shell.leading import pace
from stream_engine.shell.leading.pace import Pace
from stream_engine.shell.leading.term import Term


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds; a test sets it."""
    now = [100.0]
    monkeypatch.setattr(pace, "monotonic", lambda: now[0])
    return now


def test_what_lies_for_long_means_that_the_loop_is_behind(clock: list[float]) -> None:
    performed: list[Sequence[tuple[Term, Sequence[Effect]]]] = []

    async def script() -> list[bool]:
        watched = Pace(asyncio.get_running_loop(), performed.append)
        watched.hand_over([])
        behind = [watched.behind]
        clock[0] += 0.06
        behind.append(watched.behind)
        await asyncio.sleep(0)
        behind.append(watched.behind)
        clock[0] += 0.06
        return [*behind, watched.behind]

    assert asyncio.run(script()) == [False, True, True, False], "just handed over, lies there, lay there, a while ago"
    assert performed == [[]]


def test_a_loop_that_takes_what_it_is_handed_at_once_is_not_behind(clock: list[float]) -> None:
    async def script() -> None:
        watched = Pace(asyncio.get_running_loop(), lambda _: None)
        for _ in range(3):
            watched.hand_over([])
            clock[0] += 0.04
            await asyncio.sleep(0)
            assert not watched.behind

    asyncio.run(script())
