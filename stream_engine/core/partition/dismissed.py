"""Runs that were cancelled before anything of them was seen in a partition."""

from stream_engine.core.partition.state import State
from stream_engine.core.records.tables import DISMISSED, Dismissal


class Dismissed:
    """What is remembered of them; where nothing is, which is nearly always so, asking costs nothing."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._any = next(state.scan(DISMISSED, DISMISSED.prefix, DISMISSED.stop), None) is not None

    def add(self, run_id: str, reason: str) -> bytes:
        """Remember a run, and why it was cancelled; return the key, which is to be forgotten some time."""
        self._any = True
        key = DISMISSED.key(run_id)
        self._state.put(key, Dismissal(reason))
        return key

    def reason(self, run_id: str) -> str | None:
        """Return why a run was cancelled, or None if it was not."""
        found = self._state.get(DISMISSED, DISMISSED.key(run_id)) if self._any else None
        return None if found is None else found.reason
