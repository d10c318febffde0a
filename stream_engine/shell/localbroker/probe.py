"""Whether a broker serves: not that a port is open, but that a metadata request is answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

# Long enough to be no busy loop, short enough to notice soon that the broker's process has died.
_ATTEMPT_SECONDS = 1.0


def cluster_id(config: Mapping[str, Any], *, patience: float, worth_waiting: Callable[[], bool]) -> str | None:
    """The cluster's id, once a broker answers; None if none did within `patience` seconds.

    Args:
        config: librdkafka's configuration for the client.
        patience: seconds.
        worth_waiting: asked between attempts; when it says no, the answer is None at once.
    """
    quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda _: None, "reconnect.backoff.max.ms": 250}
    client = AdminClient({**config, **quiet})
    deadline = time.monotonic() + patience
    while (left := deadline - time.monotonic()) > 0 and worth_waiting():
        try:
            metadata = client.list_topics(timeout=min(left, _ATTEMPT_SECONDS))
        except KafkaException:
            continue
        if metadata.brokers:
            return str(metadata.cluster_id)
    return None
