"""Reading figures: all that there were when it began, or an error, and never a part of them as if that were all."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Message, TopicPartition
from msgspec.json import encode

from stream_engine.core.views.insights import Counted, Figures, Window
from stream_engine.shell import clients, reading
from stream_engine.shell.operating.insights import read_insights
from stream_engine.shell.settings import Settings
from stream_engine.shell.trouble import NoAnswerError

SETTINGS = Settings(bootstrap_servers="127.0.0.1:1", state_dir=Path("nowhere"))
SINCE = 600_000


class _Kafka:
    """Two partitions that end at offset 3, of which the last record of the second is a transaction's mark; as much of them comes as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *batches: list[Message]) -> None:
        self.now = 0.0
        self.batches = list(batches)
        self.properties: dict[str, Any] = {}
        self.assigned: list[TopicPartition] = []
        monkeypatch.setattr(reading, "monotonic", lambda: self.now)
        monkeypatch.setattr(clients, "reader", self._reader)

    def _reader(self, _: Settings, **properties: Any) -> "_Kafka":
        self.properties = properties
        return self

    def list_topics(self, **_: Any) -> Any:
        return SimpleNamespace(topics={"shop.insights": SimpleNamespace(partitions=[0, 1])})

    def get_watermark_offsets(self, *_: Any) -> tuple[int, int]:
        return 0, 3

    def offsets_for_times(self, parts: list[TopicPartition], **_: Any) -> list[TopicPartition]:
        return [TopicPartition(part.topic, part.partition, 1) for part in parts]

    def assign(self, parts: list[TopicPartition]) -> None:
        self.assigned = parts

    def consume(self, *_: Any) -> list[Message]:
        self.now += 0.1
        return self.batches.pop(0) if self.batches else []

    def poll(self, _: float) -> None:
        """There is no news."""

    def close(self) -> None:
        """There is nothing to close."""


def _record(partition: int, offset: int) -> Any:
    window = Window(SINCE + offset * 60_000, partition, "pay", "1")
    raw = encode(window), encode(Counted(offset, Figures(started=1)))
    return SimpleNamespace(
        error=lambda: None, partition=lambda: partition, offset=lambda: offset, key=lambda: raw[0], value=lambda: raw[1]
    )


def _end(partition: int) -> Any:
    error = SimpleNamespace(name=lambda: "_PARTITION_EOF")
    return SimpleNamespace(error=lambda: error, partition=lambda: partition, offset=lambda: 3)


def test_all_of_each_partition_is_read_up_to_where_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = _Kafka(monkeypatch, [_record(0, 1), _record(1, 1)], [_record(0, 2), _end(1)])
    [summary] = read_insights(SETTINGS, "shop", SINCE) or []
    assert summary.figures.started == 3
    assert reading.TO_THE_END.items() <= kafka.properties.items()
    assert [part.partition for part in kafka.assigned] == [0, 1]


def test_a_part_of_the_figures_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _Kafka(monkeypatch, [_record(0, 1), _record(0, 2), _record(1, 1)])
    with pytest.raises(NoAnswerError, match="nothing came"):
        read_insights(SETTINGS, "shop", SINCE)
