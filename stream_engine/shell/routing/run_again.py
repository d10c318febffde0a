"""Which runs are run again by replays and rewinds, as the control topic has it."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from stream_engine.core.records.wanted import Sender
from stream_engine.core.routing import rewound
from stream_engine.core.routing.replay import Extent, Replay
from stream_engine.core.routing.rewind import Rewind
from stream_engine.shell.halts import REPLAY
from stream_engine.shell.routing.bearings import REWIND, TopicId
from stream_engine.shell.routing.replays import selected_events


class RunAgain:
    """What belongs to each replay and rewind, looked up when it is first asked for: it never changes."""

    def __init__(self, values: Callable[[str], Mapping[str, bytes]], topics: Sequence[TopicId]) -> None:
        """``values`` has the control topic's, by prefix; ``topics`` are those that events are in, the app's own first."""
        self._values = values
        self._topics = topics
        self._extents: dict[str, Extent] = {}

    def sends(self, replay_id: str, by: Sender) -> bool:
        """Return whether a replay has a run of its own that sends what another run has sent; False if the replay is not known, or not yet."""
        extent = self._extents.get(replay_id) or self._find(replay_id)
        return extent is not None and extent.replays(by.function, by.topic, by.partition, by.offset)

    def _find(self, replay_id: str) -> Extent | None:
        found = self._rewound(replay_id) or self._replayed(replay_id)
        if found is not None:
            self._extents[replay_id] = found
        return found

    def _rewound(self, replay_id: str) -> Extent | None:
        raw = self._values(REWIND + replay_id).get("")
        if raw is None:
            return None
        return rewound.extent(msgspec.json.decode(raw, type=Rewind), self._topics)

    def _replayed(self, replay_id: str) -> Extent | None:
        raw = self._values(REPLAY + replay_id).get("")
        if raw is None:
            return None
        replay = msgspec.json.decode(raw, type=Replay)
        selected = selected_events(replay, self._values)
        if replay.chunks and selected is None:
            return None
        return Extent(replay.id, replay.topic, replay.spans, replay.function, selected)
