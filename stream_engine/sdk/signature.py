"""What can be told of a user's function by looking at it, looked at once for each function."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, NamedTuple, get_args, get_origin
from weakref import WeakKeyDictionary

from stream_engine.sdk.codec import Decode, decode_plain, decoder

logger = logging.getLogger(__name__)

EMPTY = inspect.Parameter.empty


class Callee(NamedTuple):
    """A function that a step calls: whether calling it returns a coroutine, and how its recorded result is read."""

    is_async: bool
    decode: Decode


_callees: WeakKeyDictionary[Any, Callee] = WeakKeyDictionary()


def callee(fn: Callable[..., Any]) -> Callee:
    """Return what is to be known of a step's function."""
    key = getattr(fn, "__func__", fn)
    try:
        known = _callees.get(key)
    except TypeError:  # it cannot be hashed, or not be referred to weakly
        return _look_at(fn)
    if known is None:
        known = _callees[key] = _look_at(fn)
    return known


def is_async(fn: Callable[..., Any]) -> bool:
    """Return whether calling ``fn`` returns a coroutine; objects that are called like functions are looked into."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004 - wanted is the method, not whether there is one


def annotation(fn: Callable[..., Any], name: str, local: Mapping[str, Any] | None = None) -> Any:
    """Return one annotation of a function, evaluated if it is text; `EMPTY` if there is none.

    Raises:
        NameError: a name in it is not known where the function was defined.
    """
    target = _plain(fn)
    found = getattr(target, "__annotations__", {}).get(name, EMPTY)
    if not isinstance(found, str):
        return found
    return eval(found, getattr(target, "__globals__", {}), {**_closure(target), **(local or {})})  # noqa: S307 - the user's own code, like the function itself


def return_decoder(fn: Callable[..., Any]) -> Decode:
    """Return how a recorded result of ``fn`` is read: as its return annotation says, where it has one."""
    if isinstance(fn, type):
        return decoder(fn)
    try:
        found = annotation(fn, "return")
    except NameError as error:
        logger.warning(
            "%s: its return annotation cannot be evaluated (%s), so results are handed over as plain JSON values",
            getattr(fn, "__qualname__", fn),
            error,
        )
        return decode_plain
    if get_origin(found) in (Awaitable, Coroutine):
        found = get_args(found)[-1]
    return decoder(found)


def _look_at(fn: Callable[..., Any]) -> Callee:
    return Callee(is_async(fn), return_decoder(fn))


def _plain(fn: Any) -> Any:
    """Return the function behind wrappers, partial calls, methods and objects that are called like functions."""
    while isinstance(fn, partial):
        fn = fn.func
    if not inspect.isroutine(fn):
        fn = type(fn).__call__
    return inspect.unwrap(getattr(fn, "__func__", fn))


def _closure(fn: Any) -> Mapping[str, Any]:
    try:
        return inspect.getclosurevars(fn).nonlocals
    except (TypeError, ValueError):  # not written in Python, or a name that it uses has no value yet
        return {}
