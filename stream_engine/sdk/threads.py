"""Calling users' ``def`` functions in threads."""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

Thread = Future[tuple[Any, BaseException | None]]


async def call_in_thread(
    pool: ThreadPoolExecutor, begun: Callable[[Thread], None], fn: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    """Return what ``fn`` returns, called in a thread of ``pool`` with the caller's context variables.

    A thread cannot be interrupted: if the caller is cancelled, the call goes on, and what it returns is dropped. ``begun`` is
    called with what tells when it ends.
    """
    thread = pool.submit(copy_context().run, _outcome, fn, args, kwargs)
    begun(thread)
    try:
        value, error = await asyncio.wrap_future(thread)
    except asyncio.CancelledError:
        thread.add_done_callback(_drop)
        raise
    if error is not None:
        raise error
    return value


def _drop(thread: Thread) -> None:
    """Close a coroutine that ``fn`` has made for a caller who is gone: nobody will await it."""
    value = None if thread.cancelled() else thread.result()[0]
    if inspect.iscoroutine(value):
        value.close()


def _outcome(fn: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, BaseException | None]:
    # As a value, because futures refuse to carry StopIteration, and event loops end at SystemExit.
    try:
        return fn(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is its outcome
        return None, error


def note_while_running(threads: list[Thread], thread: Thread) -> None:
    """Have a call in a thread among others, as long as it goes on."""
    threads.append(thread)
    thread.add_done_callback(threads.remove)
