"""Replays that are paused or cancelled, as the control topic has them and the leaders of an app's workers go by."""

from collections.abc import Mapping
from typing import Final

import msgspec

from stream_engine.core.partition.halted import Halts
from stream_engine.core.routing.replay import CANCELLED, PAUSED, Replay

REPLAY: Final = "replay/"
"""What the keys of the control topic begin with that have replays; its id follows."""


class HaltedReplays:
    """What the control topic says of them, looked at whenever it may have changed.

    Attributes:
        halts: which are halted.
        since: when what is gone by was written, by the keys of the replays that an operator has paused, resumed or cancelled.
    """

    def __init__(self, values: Mapping[str, bytes]) -> None:
        """``values`` has replays by their ids."""
        self._values: Mapping[str, bytes] = {}
        self.halts = Halts()
        self.since: dict[str, int] = {}
        self.follow(values)

    def follow(self, values: Mapping[str, bytes]) -> None:
        """Take what the control topic has."""
        if values == self._values:
            return
        self._values = values
        replays = [msgspec.json.decode(raw, type=Replay) for raw in values.values()]
        states = {state: frozenset(one.id for one in replays if one.state == state) for state in (PAUSED, CANCELLED)}
        self.halts = Halts(states[PAUSED], states[CANCELLED])
        self.since = {REPLAY + one.id: one.changed_at for one in replays if one.changed_at}
