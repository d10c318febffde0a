"""Results of steps and functions: what is recorded of them, and what is read from the record."""

from typing import Any

from stream_engine.core.records.tables import Step
from stream_engine.sdk.codec import DECODE_ERRORS, Decode, decode_plain, try_encode
from stream_engine.sdk.errors import InvokeError, ResultError, StepError
from stream_engine.sdk.run import Execution

NULL = b"null"

_SAME_AS_JSON = frozenset({str, int, bool})


def encode_result(execution: Execution, step: str | None, value: Any) -> bytes:
    """Return the result of a step, or of the function, as JSON.

    Raises:
        ResultError: JSON cannot express it, or it is too large.
    """
    try:
        raw = try_encode(value)
    except ValueError as error:
        raise ResultError(f"{_what(execution, step)} returned something that cannot be recorded: {error}") from error
    limit = execution.host.result_limit
    if len(raw) > limit:
        raise ResultError(
            f"{_what(execution, step)} returned {len(raw):,} bytes of JSON; the limit is {limit:,}: "
            "store what is large elsewhere and return where it is"
        )
    return raw


def as_recorded(value: Any, raw: bytes, step: str, decode: Decode) -> Any:
    """Return a result as it will be read from its record, so that it is the same value now and in later executions.

    Raises:
        ResultError: it cannot be read as the annotation of the step's function says.
    """
    if value is None or (decode is decode_plain and type(value) in _SAME_AS_JSON):
        return value
    try:
        return decode(raw)
    except DECODE_ERRORS as error:
        raise ResultError(f"step {step!r} returned what its function's annotation does not say: {error}") from error


def result_of(record: Step, step: str, decode: Decode) -> Any:
    """Return the recorded result of a step.

    Raises:
        InvokeError: what it invoked gave no result.
        StepError: the step failed, or its result cannot be read as the annotation of its function says now.
    """
    if record.error is not None and record.reason:
        raise InvokeError(record.reason, record.error.type, record.error.message, record.error.traceback)
    if record.error is not None:
        raise StepError(record.error.type, record.error.message, record.error.traceback)
    if record.result is None or record.result == NULL:
        return None
    try:
        return decode(record.result)
    except DECODE_ERRORS as error:
        message = f"the recorded result of step {step!r} is not what its function's annotation says now: {error}"
        raise StepError(ResultError.__name__, message) from error


def _what(execution: Execution, step: str | None) -> str:
    function = f"function {execution.run.function!r}"
    return function if step is None else f"step {step!r} of {function}"
