"""What an app's functions are triggered by, as data.

Every worker publishes the catalogue of its code; routers match events by the one in force, and never by the code that happens
to be beside them. A catalogue is JSON, so that people and other tools can read it too. The compatibility rule: a field is only
ever added, with a default; a reader passes over fields that it does not know.
"""

import hashlib
from collections.abc import Iterable

import msgspec

from stream_engine.core.functions.flow import ANY_TIME, PLAIN, Cron, Flow, Timeouts
from stream_engine.core.functions.match import Matched, Wish, match
from stream_engine.core.functions.sources import Source
from stream_engine.core.records.journal import Event

RESERVED = "engine/"
"""What the engine's own event names start with. Only a trigger that names such an event exactly matches it."""

WILDCARD = "*"

_START = RESERVED + "start/"
_CRON = RESERVED + "cron/"
_REMEMBERED = 10_000


def start_event(function_id: str) -> str:
    """Return the name of the event that starts a function directly, whatever else triggers it."""
    return _START + function_id


def cron_event(function_id: str) -> str:
    """Return the name of the events that are the ticks of a function's crons.

    Their data has ``cron`` (the expression), ``index`` (which of the function's crons, from 0) and ``tick`` (when, in ISO 8601).
    """
    return _CRON + function_id


class FunctionSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function as routers and listings know it.

    ``triggers`` are event names, or prefixes of event names followed by ``*``, which stands for one or more characters; the
    name of the event that starts the function directly is among them. ``versions`` has the current one first. ``conditions`` has
    expressions for some of the triggers: an event that matches such a one is for the function if any of its expressions holds. ``flow``,
    ``crons``, ``timeouts`` and the handlers are what the current version declares; the handlers are ids of functions that have no triggers.
    """

    id: str
    triggers: list[str]
    versions: list[str]
    conditions: dict[str, tuple[str, ...]] = {}
    flow: Flow = PLAIN
    crons: tuple[Cron, ...] = ()
    on_failure: str | None = None
    on_cancel: str | None = None
    timeouts: Timeouts = ANY_TIME


class _Document(msgspec.Struct, frozen=True):
    functions: dict[str, FunctionSpec]
    events: str = ""
    sources: tuple[Source, ...] = ()


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(_Document)


class Catalogue:
    """The functions of an app by their ids, and which of them an event is for.

    ``events`` is the topic that the app's events are in; empty where the catalogue does not say. ``sources`` has the others that it reads, by their
    topics.
    """

    __slots__ = ("_exact", "_prefixes", "_wishes", "digest", "events", "functions", "sources")

    def __init__(self, functions: dict[str, FunctionSpec], events: str = "", sources: Iterable[Source] = ()) -> None:
        self.functions = functions
        self.events = events
        self.sources = {source.topic: source for source in sources}
        self.digest = hashlib.blake2b(self.encode(), digest_size=16).hexdigest()
        self._exact: dict[str, list[str]] = {}
        self._prefixes: list[tuple[str, str]] = []
        for spec in functions.values():
            for trigger in spec.triggers:
                if trigger.endswith(WILDCARD):
                    self._prefixes.append((trigger.removesuffix(WILDCARD), spec.id))
                else:
                    self._exact.setdefault(trigger, []).append(spec.id)
        self._wishes: dict[str, tuple[list[Wish], Matched | None]] = {}

    @classmethod
    def decode(cls, raw: bytes) -> "Catalogue":
        """Return the catalogue that ``encode`` wrote.

        Raises:
            msgspec.DecodeError: the bytes are not a catalogue.
        """
        document = _decoder.decode(raw)
        return cls(document.functions, document.events, document.sources)

    def encode(self) -> bytes:
        """Return the catalogue as JSON: the same text for the same content."""
        return _encoder.encode(_Document(self.functions, self.events, tuple(self.sources.values())))

    def match(self, event: Event, partitions: int, replay_id: str | None = None) -> Matched:
        """Return what an event starts, each function once; it may be shared, so leave it as it is.

        ``partitions`` is how many the commands topic has; they own the gates.
        """
        wishes, same_for_all = self._named(event.name)
        return match(wishes, event, partitions, replay_id) if same_for_all is None else same_for_all

    def named(self, event_name: str) -> list[str]:
        """Return the ids of the functions that events of a name may start, as far as the name says."""
        return [wish.function for wish in self._named(event_name)[0]]

    def keeps_all(self, function: str) -> bool:
        """Return whether a function has a debounce that hands over every event."""
        spec = self.functions.get(function)
        debounce = None if spec is None else spec.flow.debounce
        return debounce is not None and debounce.keep == "all"

    def topics_of(self, function: str) -> list[str]:
        """Return the topics in which events of a function are likely to be: sources whose events are called so, and else the app's own.

        Anybody may write an event of that name to the app's own topic, and a source without a name may have every event.
        """
        triggers = {one for one in self.functions[function].triggers if not one.startswith(RESERVED)}
        named = [one for one in self.sources.values() if one.name and function in self.named(one.name)]
        if triggers and triggers <= {source.name for source in named}:
            return [source.topic for source in named]
        nameless = [one for one in self.sources.values() if not one.name and triggers]
        return [self.events, *(source.topic for source in (*named, *nameless))]

    def _named(self, event_name: str) -> tuple[list[Wish], Matched | None]:
        """Return who may want events of a name; and what becomes of all of them, if that does not depend on the event."""
        found = self._wishes.get(event_name)
        if found is None:
            wishes = self._find(event_name)
            is_plain = all(wish.is_plain for wish in wishes)
            found = wishes, Matched([wish.function for wish in wishes], [], []) if is_plain else None
            # Names come from outside, and a producer may well put an id into each.
            if len(self._wishes) == _REMEMBERED:
                self._wishes.clear()
            self._wishes[event_name] = found
        return found

    def _find(self, event_name: str) -> list[Wish]:
        triggers: dict[str, list[str]] = {}
        for function in self._exact.get(event_name, ()):
            triggers.setdefault(function, []).append(event_name)
        if not event_name.startswith(RESERVED):
            for prefix, function in self._prefixes:
                if event_name.startswith(prefix) and event_name != prefix:
                    triggers.setdefault(function, []).append(prefix + WILDCARD)
        return [self._wish(function, names, event_name) for function, names in triggers.items()]

    def _wish(self, function: str, triggers: list[str], event_name: str) -> Wish:
        spec = self.functions[function]
        conditions: tuple[str, ...] | None = None
        if all(trigger in spec.conditions for trigger in triggers):
            conditions = tuple(text for trigger in triggers for text in spec.conditions[trigger])
        # Decoding makes a value of its own.
        flow = PLAIN if spec.flow == PLAIN else spec.flow
        return Wish(function, conditions, flow, spec.crons if event_name == cron_event(function) else ())
