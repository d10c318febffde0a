"""How long to wait before a failed attempt is made again."""

from collections.abc import Callable
from typing import Literal

from stream_engine.core.duration import Duration, milliseconds

Shape = Literal["exponential", "linear", "constant"]
Backoff = Shape | Callable[[int], Duration]


def delay(backoff: Backoff, base: int, longest: int, attempt: int) -> int:
    """Return the delay after an attempt (counted from 0) failed, in milliseconds like ``base`` and ``longest``.

    Raises:
        ValueError: ``backoff`` is a function, and what it returned is not a duration.
    """
    if callable(backoff):
        grown = milliseconds(backoff(attempt))
    elif backoff == "exponential":
        grown = base << attempt
    elif backoff == "linear":
        grown = base * (attempt + 1)
    else:
        grown = base
    return min(grown, longest)


def jittered(delay: int, chance: float) -> int:
    """Return a delay with up to half of it taken away; ``chance``, in ``[0, 1)``, says how much."""
    return delay - int(delay * chance / 2)
