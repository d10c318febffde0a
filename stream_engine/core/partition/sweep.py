"""What an earlier term has left to look at: found a few entries at a time, because of very many most want nothing, and nobody waits for those."""

from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

from stream_engine.core.partition.state import State
from stream_engine.core.records.journal import Record
from stream_engine.core.records.tables import Table, parts

T = TypeVar("T", bound=Record)

_LOOK_AT = 1_000


class Sweep(Generic[T]):
    """The entries of a table that are ``wanted``, by the first part of their keys, in the order of these."""

    def __init__(self, state: State, table: Table[T], wanted: Callable[[T], bool], look_at: int = _LOOK_AT) -> None:
        """``look_at`` is how many entries one `take` looks at."""
        self._state = state
        self._table = table
        self._wanted = wanted
        self._look_at = look_at
        self._next = table.prefix
        self.found_all = False

    def take(self, most: int) -> list[str]:
        """Return up to ``most`` of them, which are not returned again; it may be none although there are more.

        Of those that have changed in the new term, some are returned too.
        """
        if self.found_all:
            return []
        most = min(most, self._look_at)
        looked = list(islice(self._state.scan(self._table, self._next, self._table.stop), most))
        if len(looked) == most:
            self._next = looked[-1][0] + b"\0"
        else:
            self.found_all = True
        return [parts(key)[0] for key, value in looked if self._wanted(value)]
