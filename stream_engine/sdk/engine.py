"""An app: its functions, its events, and what all of them share."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, Unpack

from pydantic import BaseModel

from stream_engine.core.functions.catalogue import Catalogue, FunctionSpec
from stream_engine.core.partition.turn import Function as FunctionRules
from stream_engine.core.routing.receive import Check
from stream_engine.sdk.client import Client
from stream_engine.sdk.declaration import FunctionOptions, function
from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.event_types import EventTypes
from stream_engine.sdk.events import Event
from stream_engine.sdk.function import Function
from stream_engine.sdk.middleware import compile_middleware
from stream_engine.sdk.names import check_app, check_topic
from stream_engine.sdk.pools import Pools
from stream_engine.sdk.sources import Sources

P = ParamSpec("P")
R = TypeVar("R")

Lifespan = Callable[["Engine"], AbstractAsyncContextManager[Any]]


class Engine:
    """An app. Its topics, consumer groups and stores are named after it.

    Attributes:
        name: the app's name.
        events_topic: the topic that its events are in: ``events`` if given, else ``<name>.events``.
        event_types: what `event` declared.
        sources: what `source` declared.
        middleware: what surrounds runs, steps and sends.
        lifespan: see ``__init__``.
        client: what `send` and `Function.start` send with.
    """

    def __init__(
        self,
        name: str,
        *,
        events: str | None = None,
        lifespan: Lifespan | None = None,
        middleware: Sequence[Any] = (),
    ) -> None:
        """Declare an app.

        ``lifespan`` is an async context manager, as in ASGI: it is entered once in each worker, with the engine; what it
        yields is every run's ``ctx.app``. ``middleware``: see `stream_engine.sdk.middleware`, outermost first.

        Raises:
            DeclarationError: a value is not allowed.
        """
        self.name = check_app(name)
        self.events_topic = f"{name}.events" if events is None else check_topic("Engine", "events", events)
        self.event_types = EventTypes()
        self.middleware = compile_middleware(middleware)
        self.lifespan = _lifespan(lifespan)
        self.client = Client(self.name, self.events_topic, self.event_types, self.middleware)
        self.sources = Sources(self.name, self.events_topic)
        self._functions: dict[str, dict[str, Function[..., Any]]] = {}
        self._code: dict[tuple[str, str], Function[..., Any]] = {}
        self._pools = Pools()

    def __repr__(self) -> str:
        return f"Engine({self.name!r})"

    def function(self, id: str, **options: Unpack[FunctionOptions]) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Declare a function of this app; see `stream_engine.sdk.declaration.FunctionOptions`.

        Raises:
            DeclarationError: an option, or the function itself, is not allowed; the message says what is.
        """
        declare = function(id, **options)

        def include(fn: Callable[P, R]) -> Function[P, R]:
            declared = declare(fn)
            self.include([declared])
            return declared

        return include

    def include(self, functions: ModuleType | Iterable[Function[..., Any]]) -> None:
        """Add functions that were declared elsewhere: a list of them, another engine's, or all of a module's.

        Raises:
            DeclarationError: something else is given, or two have one id and version, or two versions of one function
                accept new runs.
        """
        for item in _listed(functions):
            if not isinstance(item, Function):
                raise DeclarationError(f"Engine.include: {item!r} is not a function declared by @function")
            self._add(item)

    def event(self, name: str, model: type[BaseModel], *, key: str | None = None) -> None:
        """Bind a pydantic model to an event's name: data that does not fit is refused, and goes to the dead letters.

        ``key`` is the dotted path of the field that is Kafka's key where this app sends the event, such as ``data.order_id``.

        Raises:
            DeclarationError: a value is not allowed, or the name is declared already.
        """
        self.event_types.declare(name, model, key)

    def source(self, topic: str, *, name: str | None = None, format: str = "json") -> None:  # noqa: A002 - the contract's word
        """Take the records of a topic that others own as events, read in place; that topic is never written to.

        Its events are called ``name``. In the formats ``json`` and ``avro`` a record's whole value is the event's data. In ``cloudevents`` the CloudEvent's data
        is, and its id and time are the event's; without a ``name``, so is its type. Else a record's place is the event's id, and its timestamp the event's ts.

        Raises:
            DeclarationError: a value is not allowed, or the topic is declared already, or is the app's own.
        """
        self.sources.declare(topic, name, format)

    async def send(self, events: Event[Any] | Iterable[Event[Any]]) -> list[str]:
        """Send events; return their ids. Without an id of its own, an event's place in the log is its id.

        Raises:
            ValueError: an event's data does not fit its model, or is no JSON object, or is too large.
        """
        return await self.client.send(events)

    def send_sync(self, events: Event[Any] | Iterable[Event[Any]]) -> list[str]:
        """The same as `send`, for programs without an event loop."""
        return self.client.send_sync(events)

    def checks(self) -> dict[str, Check]:
        """Return what judges the data of events, by their names: None if it fits their model, or else why not."""
        return self.event_types.checks()

    @property
    def functions(self) -> list[Function[..., Any]]:
        """All functions, every version of them, in the order of their declaration."""
        return [item for versions in self._functions.values() for item in versions.values()]

    def find(self, id: str, version: str) -> Function[..., Any]:
        """Return the code of a function, or of a function's handler, in a version.

        Raises:
            KeyError: the app has none.
        """
        return self._code[id, version]

    def rules_functions(self) -> dict[str, FunctionRules]:
        """Return what decisions must know of the code that is here: versions, the current one first, and handlers.

        Raises:
            DeclarationError: no version of a function accepts new runs.
        """
        rules = {}
        for id, versions in self._functions.items():
            order = _versions(id, versions)
            current = versions[order[0]]
            said = current.options
            handlers = {"on_failure": _id(current.on_failure), "on_cancel": _id(current.on_cancel)}
            rules[id] = FunctionRules(id, order, **handlers, flow=said.flow, crons=said.crons, timeouts=said.timeouts)
            handled: dict[str, tuple[str, ...]] = {}
            for version in order:
                for handler in versions[version].handlers:
                    handled[handler.id] = (*handled.get(handler.id, ()), version)
            rules.update({handler: FunctionRules(handler, found) for handler, found in handled.items()})
        return rules

    def catalogue(self) -> Catalogue:
        """Return what the functions are triggered by, and where the events are, as data.

        Raises:
            DeclarationError: no version of a function accepts new runs.
        """
        specs = {}
        for id, versions in self._functions.items():
            function = _current(id, versions)
            current = function.options
            specs[id] = FunctionSpec(
                id,
                list(current.triggers),
                list(_versions(id, versions)),
                dict(current.conditions),
                current.flow,
                current.crons,
                _id(function.on_failure),
                _id(function.on_cancel),
                current.timeouts,
            )
        return Catalogue(specs, self.events_topic, self.sources)

    def _add(self, item: Function[..., Any]) -> None:
        versions = self._functions.setdefault(item.id, {})
        known = versions.get(item.version)
        if known is item:
            return
        where = f"function {item.id!r}"
        if known is not None:
            raise DeclarationError(
                f"{where}: version={item.version!r}: it is declared twice in app {self.name!r}; "
                "give the new code a version of its own, with accepts_new=False on the old one"
            )
        accepting = [other.version for other in versions.values() if other.options.accepts_new]
        if accepting and item.options.accepts_new:
            raise DeclarationError(
                f"{where}: version={item.version!r}: new runs start on version {accepting[0]!r} already; "
                "write accepts_new=False on one of them"
            )
        self._pools.join(where, item.options)
        versions[item.version] = self._code[item.id, item.version] = item
        item.app = self
        for handler in item.handlers:
            self._code[handler.id, item.version] = handler


def _id(handler: Function[..., Any] | None) -> str | None:
    return None if handler is None else handler.id


def _listed(functions: ModuleType | Iterable[Function[..., Any]]) -> Iterable[Function[..., Any]]:
    if isinstance(functions, ModuleType):
        return [value for value in vars(functions).values() if isinstance(value, Function)]
    if not isinstance(functions, Iterable):
        raise DeclarationError(
            f"Engine.include: {functions!r}: give a list of functions declared by @function, or a module"
        )
    return functions


def _current(id: str, versions: dict[str, Function[..., Any]]) -> Function[..., Any]:
    for item in versions.values():
        if item.options.accepts_new:
            return item
    raise DeclarationError(f"function {id!r}: accepts_new=False on every version; exactly one accepts new runs")


def _versions(id: str, versions: dict[str, Function[..., Any]]) -> tuple[str, ...]:
    current = _current(id, versions).version
    return (current, *(version for version in versions if version != current))


def _lifespan(lifespan: Any) -> Lifespan | None:
    if lifespan is None:
        return None
    if not callable(lifespan):
        raise DeclarationError.of(
            "Engine", "lifespan", lifespan, "give a function that returns an async context manager"
        )
    return asynccontextmanager(lifespan) if inspect.isasyncgenfunction(lifespan) else lifespan
