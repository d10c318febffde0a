"""What users put around runs, steps and sends.

A middleware is an object with any of these methods; each calls ``await call()``, once or as often as it likes, and returns
what that returned or something else::

    async def around_run(self, ctx, call): ...        # every execution of a run; the result is the run's
    async def around_step(self, ctx, step, call): ... # every attempt of a step's body; step.args and step.kwargs may be changed
    async def around_send(self, events, call): ...    # events is a list that may be changed; the result is their ids

The first in ``Engine(middleware=[...])`` is the outermost.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.names import suggestion

Around = tuple[Callable[..., Awaitable[Any]], ...]
Call = Callable[[], Awaitable[Any]]

_KINDS = ("around_run", "around_step", "around_send")


class Middleware(NamedTuple):
    """The methods of all middleware of an app by what they surround, outermost first."""

    runs: Around = ()
    steps: Around = ()
    sends: Around = ()


def compile_middleware(items: Iterable[Any]) -> Middleware:
    """Return the methods of the middleware given: objects, or classes that are made without arguments.

    Raises:
        DeclarationError: one of them has none of the methods, or one that is none of them, or one that is not ``async def``.
    """
    if not isinstance(items, Iterable):
        raise DeclarationError.of("Engine", "middleware", items, "give a list of objects that have its methods")
    made = [item() if isinstance(item, type) else item for item in items]
    for item in made:
        _check(item)
    return Middleware(*(tuple(getattr(item, kind) for item in made if hasattr(item, kind)) for kind in _KINDS))


def surround(around: Around, args: tuple[Any, ...], call: Call) -> Call:
    """Return ``call`` with middleware around it."""
    for method in reversed(around):
        call = partial(method, *args, call)
    return call


def _check(item: Any) -> None:
    where = f"Engine: middleware {type(item).__qualname__}"
    methods = [name for name in dir(item) if name.startswith("around_")]
    for name in methods:
        if name not in _KINDS:
            raise DeclarationError(f"{where}: nothing calls {name}; {suggestion(name, _KINDS)}")
        if not inspect.iscoroutinefunction(getattr(item, name)):
            raise DeclarationError(f"{where}: {name} must be `async def`")
    if not methods:
        raise DeclarationError(f"{where}: it has none of the methods {', '.join(_KINDS)}")
