"""Exceptions as data, and what they mean for the run that raised them."""

import traceback
from pathlib import Path
from types import TracebackType

from stream_engine.core.failure import Failure
from stream_engine.sdk.errors import NonRetriableError, StepError

_HERE = str(Path(__file__).parent)
_LONGEST_MESSAGE = 8_000
_LONGEST_TRACEBACK = 16_000


def failure_of(error: BaseException) -> Failure:
    """Return an exception as data. Of the traceback, the engine's own frames at its top are left out.

    A `StepError` stands for the exception that the step's body raised.
    """
    if isinstance(error, StepError):
        return Failure(error.type, error.message, error.traceback)
    lines = traceback.format_exception(type(error), error, _users_part(error.__traceback__))
    text = _clean("".join(lines))
    if len(text) > _LONGEST_TRACEBACK:
        half = _LONGEST_TRACEBACK // 2
        text = f"{text[:half]}\n  [...]\n{text[-half:]}"
    return Failure(type(error).__name__, _message(error)[:_LONGEST_MESSAGE], text)


def cause_of(error: BaseException) -> BaseException:
    """Return the exception that decides what becomes of the run.

    A ``TaskGroup`` raises a group: an exception in it that rules out another attempt decides, or else the only one.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, StepError | NonRetriableError):
            return leaf
    return leaves[0] if len(leaves) == 1 else error


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def _message(error: BaseException) -> str:
    try:
        return _clean(str(error))
    except Exception as broken:  # noqa: BLE001 - it is the user's own `__str__` that fails, in whatever way
        return f"<its __str__ raised {type(broken).__name__}>"


def _clean(text: str) -> str:
    """Return text that UTF-8 can express: a lone surrogate in a message must not stop the journal."""
    return text.encode("utf-8", "backslashreplace").decode()


def _users_part(tb: TracebackType | None) -> TracebackType | None:
    start = tb
    while start is not None and start.tb_frame.f_code.co_filename.startswith(_HERE):
        start = start.tb_next
    return start or tb
