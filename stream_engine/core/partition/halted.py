"""Replays that an operator has halted: paused until they are resumed, or cancelled for good. Nothing more of them begins.

That a replay is halted stands in the control topic, and is no part of the state: what a leader decides because of it is in the journal, and
nobody decides it again. A run of a replay that is paused is *held*: it stands at no gate, has given back what it had passed, so that nobody has to wait for it, and
asks anew once the replay goes on. What has begun goes on, with what it invokes and the handlers of what has begun; and so does what an operator has
run again of it by hand.
"""

from typing import Final, Literal, NamedTuple

from stream_engine.core.records.requests import Entry
from stream_engine.core.records.tables import Run

HALTED: Final = "halted"
"""The status of a run that has not begun because its replay is paused."""

Verdict = Literal["hold", "cancel"]
"""What becomes of a run that would begin: it is held until its replay goes on, or comes to nothing."""


class Halts(NamedTuple):
    """The ids of the replays that are paused, and of those that were cancelled."""

    paused: frozenset[str] = frozenset()
    cancelled: frozenset[str] = frozenset()

    def verdict(self, run: Run | Entry) -> Verdict | None:
        """Return what keeps a run from beginning; None if nothing does."""
        if run.replay_id in self.cancelled:
            return "cancel" if _may_be_halted(run) else None
        return "hold" if run.replay_id in self.paused and _may_be_halted(run) else None

    def cancels(self, run: Run | Entry) -> bool:
        """Return whether a run is not to begin any more."""
        return self.verdict(run) == "cancel"


class Halted:
    """The replays that are halted, by all that is known; somebody else keeps it true, at any time, and a turn takes it once.

    Attributes:
        now: what is halted; the same object as long as nothing changes.
    """

    __slots__ = ("now",)

    def __init__(self, now: Halts = Halts()) -> None:  # noqa: B008 - it is immutable
        self.now = now

    def follow(self, now: Halts) -> None:
        """Take what the control topic says."""
        if now != self.now:
            self.now = now


def _may_be_halted(run: Run | Entry) -> bool:
    if run.rerun_of:
        return False
    return run.caller is None if isinstance(run, Entry) else not run.started_at and run.of_run is None
