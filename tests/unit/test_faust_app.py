"""What Faust apps at the edge rely on: records that no one reads again are not dropped, and acknowledged behind what was made of them."""

import asyncio
from pathlib import Path

import pytest

from stream_engine.shell.edge.faust_app import Acks, Changes, EdgeApp, edge_app, table
from stream_engine.shell.settings import Settings


@pytest.fixture
def app(tmp_path: Path) -> EdgeApp:
    """An app that is not started."""
    settings = Settings(bootstrap_servers="127.0.0.1:1", state_dir=tmp_path)
    return edge_app(settings, "edge", lambda: str(tmp_path))


class _Event:
    """An event that notes, in a list, that it was acknowledged."""

    def __init__(self, number: int, acked: list[int]) -> None:
        self._number = number
        self._acked = acked

    def ack(self) -> None:
        self._acked.append(self._number)


class _Changes(Changes):
    """A table whose changes a test has arrive."""

    def change(self) -> "asyncio.Future[None]":
        change: asyncio.Future[None] = asyncio.Future()
        self._sent.append(change)
        return change


def test_events_are_acknowledged_in_their_order_and_behind_what_was_made_of_them(app: EdgeApp) -> None:
    async def acknowledge() -> None:
        acked: list[int] = []
        changes = _Changes(app, name="t")
        acks = Acks(changes)
        sent: asyncio.Future[None] = asyncio.Future()
        change = changes.change()
        acks.add(_Event(1, acked), sent)
        first = asyncio.create_task(acks.flush())
        await asyncio.sleep(0)
        acks.add(_Event(2, acked))
        second = asyncio.create_task(acks.flush())
        for arrives in (sent, change):
            await asyncio.sleep(0)
            assert acked == []
            arrives.set_result(None)
        await asyncio.gather(first, second)
        assert acked == [1, 2]
        acks.add(_Event(3, acked))
        acks.forget()
        await acks.flush()
        assert acked == [1, 2]

    asyncio.run(acknowledge())


def test_nothing_is_acknowledged_that_has_not_arrived(app: EdgeApp) -> None:
    async def fail() -> list[int]:
        acked: list[int] = []
        changes = _Changes(app, name="t")
        acks = Acks(changes)
        changes.change().set_exception(OSError("no broker"))
        acks.add(_Event(1, acked))
        for _ in range(2):
            with pytest.raises(OSError, match="no broker"):
                await acks.flush()
            acks.add(_Event(2, acked))
        return acked

    assert asyncio.run(fail()) == []


def test_a_table_is_kept_in_the_topic_that_it_is_told(app: EdgeApp) -> None:
    assert table(app, "windows", "shop.insights").changelog_topic.get_topic_name() == "shop.insights"
