"""Whether anything is still on its way that runs which have ended have sent, or that follows from it."""

import time
from collections.abc import Collection
from typing import Final

from stream_engine.shell import clients
from stream_engine.shell.clients import offsets
from stream_engine.shell.clock import monotonic
from stream_engine.shell.operating.group_offsets import committed, partitions
from stream_engine.shell.operating.settled import settle
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_LOOK_SECONDS: Final = 0.1


def on_its_way(settings: Settings, names: Names, topics: Collection[str], seconds: float) -> str | None:
    """Wait until what had been decided when this was called has come to the topics with events, has been routed, and is decided upon and told.

    Return in words what has not come so far, or None. Each of the steps may take so many seconds: a machine that is late itself gets there too.

    Raises:
        UserError: there is no such topic.
        KafkaException: Kafka does not answer.
    """
    if not settle(settings, names, seconds, topics):
        return "what has been decided is not told, or not sent, yet"
    if not _routed(settings, names, topics, seconds):
        return "events that were there before are not routed yet"
    if not settle(settings, names, seconds):
        return "what has been routed is not decided upon yet"
    return None


def _routed(settings: Settings, names: Names, topics: Collection[str], seconds: float) -> bool:
    deadline = monotonic() + seconds
    consumer = clients.reader(settings, **{"group.id": names.router_group})
    try:
        ends = {
            (topic, number): offsets(consumer, topic, number).stop
            for topic in topics
            for number in partitions(consumer, topic)
        }
        while True:
            now = {(topic, number): at for topic in topics for number, at in committed(consumer, topic).items()}
            if all(now.get(place, 0) >= end for place, end in ends.items()):
                return True
            if monotonic() > deadline:
                return False
            time.sleep(_LOOK_SECONDS)
    finally:
        consumer.close()
