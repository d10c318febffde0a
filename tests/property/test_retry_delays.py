"""Delays before retries stay within what was asked for."""

from hypothesis import given
from hypothesis import strategies as st

from stream_engine.core.retry import delay, jittered
from stream_engine.sdk.retry import Retry

SHAPES = st.sampled_from(["exponential", "linear", "constant"])
MS = st.integers(0, 10**9)


@given(SHAPES, MS, MS, st.integers(0, 19))
def test_delays_grow_up_to_the_longest(shape, base: int, longest: int, attempt: int) -> None:  # type: ignore[no-untyped-def] # Hypothesis has no type for a literal
    now, later = delay(shape, base, longest, attempt), delay(shape, base, longest, attempt + 1)
    assert min(base, longest) <= now <= later <= longest


@given(MS, st.floats(0, 1, exclude_max=True))
def test_jitter_leaves_at_least_half(full: int, chance: float) -> None:
    assert full / 2 <= jittered(full, chance) <= full


@given(st.integers(0, 20), st.integers(0, 30))
def test_as_many_attempts_as_the_limit_says(limit: int, attempt: int) -> None:
    assert (Retry(limit).delay(OSError(), attempt, 0) is not None) == (attempt < limit)
