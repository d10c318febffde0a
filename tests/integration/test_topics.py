"""An app's topics on a real broker: whoever asks for them finds them served."""

import threading
from dataclasses import replace

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from stream_engine.shell import clients
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply, wanted

_PARTITIONS = 8
_APPS = 4


def test_workers_that_start_at_once_all_find_the_topics_served(settings: Settings, app_name: str) -> None:
    """Also the one that created none of them itself, because another was faster."""
    refused: list[str] = []

    def start(names: Names, together: threading.Barrier) -> None:
        admin = clients.admin(replace(settings))
        together.wait()
        found = apply(admin, names, _PARTITIONS)
        parts = [TopicPartition(topic.name, part) for topic in found for part in range(topic.partitions)]
        for part, future in admin.list_offsets({part: OffsetSpec.latest() for part in parts}).items():  # type: ignore[no-untyped-call]  # the client's
            try:
                future.result()
            except KafkaException as error:
                refused.append(f"{part}: {error}")
        if len(parts) < sum(topic.partitions for topic in wanted(names, _PARTITIONS)):
            refused.append(f"only {parts}")

    for number in range(_APPS):
        together = threading.Barrier(2)
        threads = [
            threading.Thread(target=start, args=(Names.of(f"{app_name}-{number}"), together)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert refused == []
