"""What expressions see of events: name, id, ts (milliseconds) and data, which is decoded once, and only if something asks."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from stream_engine.core.records.journal import Event

_NUL = b"\\u0000"
_INTEGERS = range(-(2**63), 2**64)


class ScopeError(Exception):
    """The data of an event cannot be read."""


class Scope:
    """The events that expressions about one event are evaluated with, by the names that they have there.

    It is for one event, or one event and another, and is thrown away with it.
    """

    __slots__ = ("_events", "_views", "_within")

    def __init__(self, event: Event, async_event: Event | None = None) -> None:
        self._events = {"event": event} if async_event is None else {"event": event, "async_event": async_event}
        self._views: dict[str, dict[str, Any]] = {}
        self._within: dict[str, dict[str, Any]] = {}

    def view(self, name: str) -> dict[str, Any]:
        """Return what an expression sees of an event.

        Raises:
            ScopeError: its data is no JSON that can be read.
            KeyError: there is no such event here.
        """
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = _view(self._events[name])
        return view

    def has_nul(self, names: Iterable[str]) -> bool:
        """Return whether a text of one of these events has, or may have, a NUL character."""
        events = (self._events[name] for name in names)
        return any(_NUL in event.data or "\0" in event.name or "\0" in event.id for event in events)

    def part(self, fields: Sequence[tuple[str, ...]]) -> dict[str, Any] | None:
        """Return views of the events with nothing but these fields, each the parts of a path that begins with the name of an event; None if a text of them has a NUL.

        Raises:
            ScopeError: as in `view`.
        """
        part = _part({name: self.view(name) for name in self._events}, fields)
        return None if _has_nul(part) else part

    def view_within_bounds(self, name: str) -> dict[str, Any]:
        """Return the same with `within_bounds` numbers.

        Raises:
            ScopeError: as in `view` and `within_bounds`.
        """
        view = self._within.get(name)
        if view is None:
            view = self._within[name] = within_bounds(self.view(name))
        return view


def within_bounds(value: Any) -> Any:
    """Return a value with floats in place of integers that have no 64 bits, which is what JSON's numbers are elsewhere.

    Raises:
        ScopeError: it is nested too deep.
    """
    try:
        return _within_bounds(value)
    except RecursionError:
        raise ScopeError("it is nested too deep") from None


def _within_bounds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _within_bounds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_within_bounds(item) for item in value]
    if isinstance(value, int) and value not in _INTEGERS:
        return _as_float(value)
    return value


def _part(value: Any, fields: Sequence[tuple[str, ...]]) -> Any:
    if () in fields:
        return value
    if not isinstance(value, dict):
        # It has no fields, which is all that is asked of it.
        return type(value)() if isinstance(value, list | str) else value
    within: dict[str, list[tuple[str, ...]]] = {}
    for first, *rest in fields:
        within.setdefault(first, []).append(tuple(rest))
    return {name: _part(value[name], rest) for name, rest in within.items() if name in value}


def _has_nul(value: Any) -> bool:
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += [*item, *item.values()]
        elif isinstance(item, list):
            left += item
        elif isinstance(item, str) and "\0" in item:
            return True
    return False


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _view(event: Event) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScopeError(f"the data of the event cannot be read: {error}") from None
    return {"name": event.name, "id": event.id, "ts": event.ts, "data": data}
