"""Rewinds, as operators see them beside replays: what the control topic has of them."""

from collections.abc import Mapping
from typing import Final

import msgspec

from stream_engine.core.partition.intake import RESUMED_FOR
from stream_engine.core.routing.replay import ACTIVE, COMPLETED, Replay
from stream_engine.core.routing.rewind import Rewind
from stream_engine.core.routing.rewound import Stretch, stretches
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.control import Control, write
from stream_engine.shell.operating.group_offsets import time_at
from stream_engine.shell.routing.bearings import REWIND, newest_progress
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_REWOUND: Final = "rewound/"
"""What the keys of the control topic begin with that say of a rewind that it is completed."""


class Rewinds:
    """The rewinds of an app in the last 30 days, by what its control topic had when it was read."""

    def __init__(self, settings: Settings, control: Control, topics: Mapping[str, str]) -> None:
        """``topics`` has the names of the topics with events, by their ids, the app's own first."""
        self._settings = settings
        self._topics = topics
        self._completed = control.values(_REWOUND)
        progress = {topic_id: newest_progress(control, topic_id) for topic_id in topics}
        found = [msgspec.json.decode(raw, type=Rewind) for raw in control.values(REWIND).values()]
        self._found = {one.id: one for one in found if one.at > now_ms() - RESUMED_FOR}
        self._stretches = {one.id: stretches(one, topics, progress) for one in self._found.values()}

    def __contains__(self, name: object) -> bool:
        return name in self._found

    @property
    def all(self) -> Mapping[str, list[Stretch]]:
        """What each rewind routes again, and how far it has."""
        return self._stretches

    def routed(self, name: str) -> int:
        """Return how many offsets of a rewind have been routed."""
        return sum(one.at - one.start for one in self._stretches[name])

    def replays(self) -> list[Replay]:
        """Return rewinds as replays of all functions; when the first of its events was stored is 0 where that has expired.

        Raises:
            UserError: Kafka does not answer.
        """
        return [self._replay(one) for one in self._found.values()]

    def complete(self, names: Names, name: str) -> None:
        """Write down that a rewind is completed, so that it stays so whatever comes later."""
        write(clients.producer(self._settings), names.control, {_REWOUND + name: b"true"})

    def _replay(self, rewind: Rewind) -> Replay:
        parts = self._stretches[rewind.id]
        consumer = clients.reader(self._settings)
        try:
            known = self._topics.values()
            times = [time_at(consumer, one.topic, one.partition, one.start) for one in parts if one.topic in known]
        finally:
            consumer.close()
        since = min((at for at in times if at is not None), default=0)
        topic_id, topic = next(iter(self._topics.items()))
        count = sum(one.stop - one.start for one in parts)
        state = COMPLETED if rewind.id in self._completed else ACTIVE
        return Replay(rewind.id, "", topic, topic_id, since, rewind.at, rewind.of(topic_id), rewind.at, count, state)
