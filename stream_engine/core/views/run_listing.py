"""Which runs a listing shows."""

from collections.abc import Collection
from typing import Protocol

import msgspec


class Listed(Protocol):
    """What of a run says whether it is wanted."""

    @property
    def function(self) -> str:
        """The id of its function."""

    @property
    def status(self) -> str:
        """One of `STATUSES`."""

    @property
    def created_at(self) -> int | None:
        """When it was created, in milliseconds since the epoch; None where no record tells."""

    @property
    def event_id(self) -> str | None:
        """The id of the event that it is a run of."""

    @property
    def replay_id(self) -> str | None:
        """The id of the replay that it is a run of."""


class Selection(msgspec.Struct, frozen=True):
    """Which runs are wanted; what is None asks nothing.

    ``since`` and ``until`` bound the time at which a run was created, in milliseconds since the epoch: ``[since, until)``.
    """

    function: str | None = None
    statuses: Collection[str] | None = None
    since: int | None = None
    until: int | None = None
    event_id: str | None = None
    replay_id: str | None = None

    def takes(self, run: Listed) -> bool:
        """Whether a run, as it is now, is wanted; never one of whose creation nothing is known."""
        return (
            run.created_at is not None
            and (self.since is None or run.created_at >= self.since)
            and (self.until is None or run.created_at < self.until)
            and (self.function is None or run.function == self.function)
            and (self.event_id is None or run.event_id == self.event_id)
            and (self.replay_id is None or run.replay_id == self.replay_id)
            and (self.statuses is None or run.status in self.statuses)
        )
