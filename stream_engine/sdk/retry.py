"""What users say about trying again."""

import logging
from dataclasses import dataclass, field
from random import random
from typing import TypeGuard

from stream_engine.core.duration import Duration, milliseconds
from stream_engine.core.retry import Backoff, delay, jittered
from stream_engine.sdk.errors import DeclarationError, NonRetriableError, RetryAfterError

logger = logging.getLogger(__name__)

MOST = 20
ALLOWED = f"give a whole number from 0 to {MOST}, or Retry(...)"

_SHAPES = ("exponential", "linear", "constant")

Errors = tuple[type[BaseException], ...]


@dataclass(frozen=True)
class Retry:
    """How often and when an attempt that failed is made again.

    Attributes:
        limit: how many more attempts after the first, 0 to 20.
        backoff: how delays grow: ``base·2ⁿ``, ``base·(n+1)``, ``base``, or a function of n that returns a duration, where n
            counts the failed attempts from 0.
        base: the first delay: seconds, ``timedelta``, or text such as ``"500ms"``; at most ``max``. It also stands in for a
            function that fails.
        max: no delay is longer.
        jitter: whether up to half of each delay is taken away at random, so that what failed together does not return together.
        on: only these exceptions are tried again.
        not_on: these never are.

    Raises:
        DeclarationError: a value is not allowed.
    """

    limit: int = 4
    backoff: Backoff = "exponential"
    base: Duration = "1s"
    max: Duration = "1h"
    jitter: bool = True
    on: Errors = (BaseException,)
    not_on: Errors = ()
    _base: int = field(init=False, repr=False, compare=False)
    _max: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _is_limit(self.limit):
            raise _refused("limit", self.limit, f"give a whole number from 0 to {MOST}")
        if not callable(self.backoff) and self.backoff not in _SHAPES:
            raise _refused("backoff", self.backoff, f"give one of {', '.join(_SHAPES)}, or a function of the attempt")
        object.__setattr__(self, "_base", _checked("base", self.base))
        object.__setattr__(self, "_max", _checked("max", self.max))
        if self._base > self._max and not callable(self.backoff):
            allowed = f"the first delay is longer than any may be: give at most max={self.max!r}, or a longer max"
            raise _refused("base", self.base, allowed)
        if not isinstance(self.jitter, bool):
            raise _refused("jitter", self.jitter, "give True or False")
        object.__setattr__(self, "on", _errors("on", self.on))
        object.__setattr__(self, "not_on", _errors("not_on", self.not_on))

    def delay(self, error: BaseException, attempt: int, now: int) -> int | None:
        """Return how long to wait after an attempt (from 0) failed, in milliseconds, or None if it was the last.

        ``now`` is the time, in milliseconds since the epoch; only a `RetryAfterError` with a time depends on it.
        """
        if attempt >= self.limit or isinstance(error, NonRetriableError):
            return None
        if isinstance(error, RetryAfterError):
            return error.delay(now)
        if isinstance(error, self.not_on) or not isinstance(error, self.on):
            return None
        wait = self._grown(attempt)
        return jittered(wait, random()) if self.jitter else wait

    def _grown(self, attempt: int) -> int:
        try:
            return delay(self.backoff, self._base, self._max, attempt)
        except Exception:
            # A run must not hang, or end, because of how the user's function fails.
            told = "Retry: backoff=%r failed for attempt %d; base=%r is used, at most max=%r"
            logger.exception(told, self.backoff, attempt, self.base, self.max)
            return min(self._base, self._max)


def retry_of(where: str, option: object) -> Retry:
    """Return what the option ``retries`` of a function or a step means.

    Raises:
        DeclarationError: it is neither a number of retries nor a `Retry`.
    """
    if isinstance(option, Retry):
        return option
    if not _is_limit(option):
        raise DeclarationError.of(where, "retries", option, ALLOWED)
    return Retry(option)


def _is_limit(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST


def _refused(option: str, value: object, allowed: str) -> DeclarationError:
    return DeclarationError.of("Retry", option, value, allowed)


def _checked(option: str, value: Duration) -> int:
    try:
        return milliseconds(value)
    except ValueError as error:
        raise DeclarationError(f"Retry: {option}: {error}") from None


def _errors(option: str, value: object) -> Errors:
    given = value if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(item, type) and issubclass(item, BaseException) for item in given):
        raise _refused(option, value, "give exception classes, such as (IOError, TimeoutError)")
    return tuple(given)
