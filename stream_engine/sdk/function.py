"""A declared function: the user's code, with what was said about it."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload
from uuid import uuid4

from stream_engine.core.duration import Duration, milliseconds
from stream_engine.core.functions.catalogue import start_event
from stream_engine.core.functions.flow import ANY_TIME, PLAIN, Cron, Flow, Timeouts
from stream_engine.sdk.client import Client
from stream_engine.sdk.codec import Decode
from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.events import Event
from stream_engine.sdk.handle import RunHandle, SyncRunHandle
from stream_engine.sdk.retry import Retry

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What was said about a function, checked. ``triggers`` and ``conditions`` are as in `stream_engine.core.functions.catalogue.FunctionSpec`."""

    id: str
    version: str
    triggers: tuple[str, ...]
    retry: Retry
    accepts_new: bool
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flow: Flow = PLAIN
    crons: tuple[Cron, ...] = ()
    timeouts: Timeouts = ANY_TIME


@dataclass(frozen=True)
class Code:
    """How the user's code is called, and how data is read for it: the event's, and its own recorded result."""

    call: Callable[..., Any]
    is_async: bool
    decode_event: Decode
    decode_result: Decode


class App(Protocol):
    """What a function needs of its app in order to start."""

    name: str
    client: Client


class Start(TypedDict, total=False):
    """How a function is started.

    ``id``: starting twice with one id makes one run. ``delay``, or a time ``ts``: when it starts. ``key``: Kafka's key.
    """

    id: str | None
    delay: Duration | None
    key: str | bytes | int | None
    ts: datetime | int | None


@dataclass(eq=False)
class Function(Generic[P, R_co]):
    """A function of an app. Calling it calls the user's code, which is what unit tests want; `start` makes a run of it.

    Attributes:
        options: what was said about it.
        code: the user's code.
        on_failure: the function that runs when a run of this one has failed.
        on_cancel: the function that runs when a run of this one was cancelled.
        app: the app that includes it, the last one where there are several; `start` starts it there.
    """

    options: Options
    code: Code
    on_failure: "Function[..., Any] | None" = None
    on_cancel: "Function[..., Any] | None" = None
    app: "App | None" = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The function's stable id."""
        return self.options.id

    @property
    def version(self) -> str:
        """The version of its code."""
        return self.options.version

    @property
    def handlers(self) -> "list[Function[..., Any]]":
        """The handlers that it has."""
        return [handler for handler in (self.on_failure, self.on_cancel) if handler is not None]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the user's code, in plain Python."""
        result: R_co = self.code.call(*args, **kwargs)
        return result

    @overload
    async def start(
        self: "Function[P, Coroutine[Any, Any, T]]", data: Any = None, **how: Unpack[Start]
    ) -> RunHandle[T]: ...
    @overload
    async def start(self, data: Any = None, **how: Unpack[Start]) -> RunHandle[R_co]: ...
    async def start(self, data: Any = None, **how: Unpack[Start]) -> RunHandle[Any]:
        """Start a run by an event of its own with this data: now, after ``delay``, or at ``ts``; return the run.

        Raises:
            ValueError: the data is no JSON object, or ``delay`` and ``ts`` are both given.
        """
        client = self._bound()
        event = self._event(client.clock(), data, **how)
        return await client.start(self.id, event, self.code.decode_result, self.options.flow)

    @overload
    def start_sync(
        self: "Function[P, Coroutine[Any, Any, T]]", data: Any = None, **how: Unpack[Start]
    ) -> SyncRunHandle[T]: ...
    @overload
    def start_sync(self, data: Any = None, **how: Unpack[Start]) -> SyncRunHandle[R_co]: ...
    def start_sync(self, data: Any = None, **how: Unpack[Start]) -> SyncRunHandle[Any]:
        """The same as `start`, for programs without an event loop."""
        client = self._bound()
        event = self._event(client.clock(), data, **how)
        return client.start_sync(self.id, event, self.code.decode_result, self.options.flow)

    def _event(self, now: int, data: Any, **how: Unpack[Start]) -> Event[Any]:
        unknown = how.keys() - Start.__annotations__
        if unknown:
            raise TypeError(
                f"start: there is no {', '.join(sorted(unknown))}; there are {', '.join(Start.__annotations__)}"
            )
        ts, delay = how.get("ts"), how.get("delay")
        if delay is not None:
            if ts is not None:
                raise ValueError(f"start of {self.id!r}: give delay or ts, not both")
            ts = datetime.fromtimestamp(now / 1_000, UTC) + timedelta(milliseconds=milliseconds(delay))
        return Event(start_event(self.id), data, how.get("id") or uuid4().hex, ts, how.get("key"))

    def _bound(self) -> Client:
        if self.app is None:
            raise DeclarationError(f"function {self.id!r} belongs to no app yet: engine.include([...]) it first")
        return self.app.client
