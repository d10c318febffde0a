"""Exceptions as data, and what they mean for the run that raised them."""

from pathlib import Path
from traceback import StackSummary, TracebackException

from stream_engine.core.failure import Failure
from stream_engine.sdk.errors import NonRetriableError, StepError

_HERE = str(Path(__file__).parent)
_LONGEST_MESSAGE = 8_000
_LONGEST_TRACEBACK = 16_000


def failure_of(error: BaseException) -> Failure:
    """Return an exception as data. The engine's own frames are left out of the traceback.

    A `StepError` stands for the exception that the step's body raised.
    """
    if isinstance(error, StepError):
        return Failure(error.type, error.message, error.traceback)
    told = TracebackException.from_exception(error)
    _leave_out_ours(told)
    text = _clean("".join(told.format()))
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


def _leave_out_ours(told: TracebackException) -> None:
    told.stack = StackSummary.from_list([frame for frame in told.stack if not frame.filename.startswith(_HERE)])
    for other in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if other is not None:
            _leave_out_ours(other)
