"""Up to where runs have had all events of a slot, so that a search need not begin anew at the trigger for each of a run's waits.

It is what this term has found out of what is in the state: nothing is decided otherwise without it, only later.
"""

_REMEMBERED = 1_000


class Reached:
    """For some runs, by any name: behind which place, and up to which, they have had all events that a slot has."""

    def __init__(self) -> None:
        self._slots: dict[str, dict[str, tuple[bytes, bytes]]] = {}
        self._many = 0

    def start(self, slot: str, run: str, behind: bytes) -> bytes:
        """Return the place behind which a search is to look, if it is to find what is behind another one."""
        first, last = self._slots.get(slot, {}).get(run, (behind, behind))
        return max(behind, last) if first <= behind else behind

    def reach(self, slot: str, run: str, behind: bytes, last: bytes) -> None:
        """Note that a search which began as `start` says has come to a place, and that the run has had all before that, and what is there."""
        runs = self._slots.get(slot, {})
        known = runs.get(run)
        if known is None and self._many == _REMEMBERED:
            self._slots, self._many, runs = {}, 0, {}
        self._many += known is None
        runs[run] = (known[0] if known is not None and known[0] <= behind <= known[1] else behind, last)
        self._slots[slot] = runs

    def came(self, slot: str, place: bytes) -> None:
        """Note that an event has come which nobody has had, perhaps behind newer ones."""
        runs = self._slots.get(slot, {})
        for run, (first, last) in runs.items():
            if first < place <= last:
                before = (int.from_bytes(place, "big") - 1).to_bytes(len(place), "big")
                runs[run] = (first, before)
