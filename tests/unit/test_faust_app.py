"""What Faust apps at the edge rely on: records that no one reads again are not dropped, and acknowledged behind what was made of them."""

import asyncio
from pathlib import Path

import pytest
from faust.types import TP

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


_SOURCE, _FRESH, _CHANGELOG = TP("payments", 0), TP("payments", 1), TP("pairs", 0)


class _Kafka:
    """What the consumer asks of Kafka; a read takes until the test lets it come to its end."""

    def __init__(self) -> None:
        self.read = asyncio.Event()
        self.said: list[object] = []

    async def getmany(self, *_: object) -> dict[TP, list[object]]:
        self.said.append("reads")
        await self.read.wait()
        self.said.append("has read")
        return {}

    async def seek_to_committed(self) -> dict[TP, int | None]:
        self.said.append("seeks")
        return {_SOURCE: 7, _FRESH: None, _CHANGELOG: None}

    def assignment(self) -> set[TP]:
        return {_SOURCE, _FRESH, _CHANGELOG}

    async def earliest_offsets(self, *parts: TP) -> dict[TP, int]:
        return dict.fromkeys(parts, 3)

    async def seek_wait(self, offsets: dict[TP, int]) -> None:
        self.said.append(offsets)


async def _all_that_can_go_on() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def test_nothing_is_read_while_the_consumer_seeks_and_every_source_is_sought(app: EdgeApp) -> None:
    async def seek() -> list[object]:
        table(app, "pairs", "pairs")
        consumer, kafka = app.consumer, _Kafka()
        consumer._thread.thread_loop.close()
        consumer._thread = kafka
        consumer._set_active_tps({_SOURCE, _FRESH})

        async def read() -> None:
            while True:
                await asyncio.sleep(0)
                async for _ in consumer.getmany(1.0):
                    pass

        reading = asyncio.create_task(read())
        await _all_that_can_go_on()
        seeking = asyncio.create_task(consumer.perform_seek())
        await _all_that_can_go_on()
        kafka.said.append("may end")
        kafka.read.set()
        await seeking
        await _all_that_can_go_on()
        kafka.said.append("goes on")
        consumer.resume_flow()
        await _all_that_can_go_on()
        reading.cancel()
        return kafka.said[: kafka.said.index("goes on") + 2]

    sought: object = {_FRESH: 3}
    assert asyncio.run(seek()) == ["reads", "may end", "has read", "seeks", sought, "goes on", "reads"]


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
