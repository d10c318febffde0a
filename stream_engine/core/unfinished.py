"""The runs that an earlier term has left: found a few at a time, because most of very many runs may sleep, and nobody waits for those."""

from itertools import islice

from stream_engine.core.state import State
from stream_engine.core.tables import RUNS, parts

_STATUSES = frozenset({"running", "parked"})
_LOOK_AT = 1_000


class Unfinished:
    """The runs that were being executed, or had no code; in the order of their ids."""

    def __init__(self, state: State, look_at: int = _LOOK_AT) -> None:
        """``look_at`` is how many runs one `take` looks at."""
        self._state = state
        self._look_at = look_at
        self._next = RUNS.prefix
        self.found_all = False

    def take(self, most: int) -> list[str]:
        """Return up to ``most`` of them, which are not returned again; it may be none although there are more.

        Of those that the new term begins, or takes up for another reason, some are returned too.
        """
        if self.found_all:
            return []
        most = min(most, self._look_at)
        looked = list(islice(self._state.scan(RUNS, self._next, RUNS.stop), most))
        if len(looked) == most:
            self._next = looked[-1][0] + b"\0"
        else:
            self.found_all = True
        return [parts(key)[0] for key, run in looked if run.status in _STATUSES]
