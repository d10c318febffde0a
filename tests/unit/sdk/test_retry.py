"""When a failed attempt is made again."""

from datetime import UTC, datetime, timedelta

import pytest

from stream_engine import NonRetriableError, Retry, RetryAfterError
from stream_engine.core.retry import delay, jittered

SECOND = 1_000
NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        ("exponential", [1, 2, 4, 8, 16]),
        ("linear", [1, 2, 3, 4, 5]),
        ("constant", [1, 1, 1, 1, 1]),
        (lambda attempt: attempt * 3, [0, 3, 6, 9, 12]),
        (lambda attempt: timedelta(seconds=attempt), [0, 1, 2, 3, 4]),
    ],
)
def test_delays_grow_as_told(backoff: object, delays: list[int]) -> None:
    retry = Retry(20, backoff=backoff, jitter=False)  # type: ignore[arg-type] # the table mixes its types
    assert [retry.delay(OSError(), attempt, NOW) for attempt in range(5)] == [seconds * SECOND for seconds in delays]


def test_no_delay_is_longer_than_the_longest() -> None:
    assert delay("exponential", SECOND, 3600 * SECOND, 20) == 3600 * SECOND


def test_jitter_takes_away_up_to_half() -> None:
    assert jittered(1000, 0.0) == 1000
    assert jittered(1000, 0.999) == 501


def test_the_limit_counts_attempts_after_the_first() -> None:
    retry = Retry(2)
    assert retry.delay(OSError(), 1, NOW) is not None
    assert retry.delay(OSError(), 2, NOW) is None
    assert Retry(0).delay(OSError(), 0, NOW) is None


def test_errors_are_chosen() -> None:
    retry = Retry(on=(OSError,), not_on=(ConnectionError,))
    assert retry.delay(OSError(), 0, NOW) is not None
    assert retry.delay(ValueError(), 0, NOW) is None
    assert retry.delay(ConnectionError(), 0, NOW) is None
    assert retry.delay(NonRetriableError(), 0, NOW) is None


@pytest.mark.parametrize("after", ["30s", 30, timedelta(seconds=30), datetime.fromtimestamp(NOW / 1000 + 30, UTC)])
def test_retry_after_says_when(after: str) -> None:
    assert Retry(1, on=(ValueError,), max="1s").delay(RetryAfterError("later", after), 0, NOW) == 30 * SECOND
    assert Retry(1).delay(RetryAfterError("later", after), 1, NOW) is None


def test_retry_after_refuses_a_time_without_zone() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        RetryAfterError("later", datetime(2026, 1, 1))  # noqa: DTZ001 - it is what the test is about


def test_a_backoff_that_fails_is_reported_and_base_is_used(caplog: pytest.LogCaptureFixture) -> None:
    def backoff(attempt: int) -> int:
        return 1 // attempt

    assert Retry(backoff=backoff, base="7s", jitter=False).delay(OSError(), 0, NOW) == 7 * SECOND
    assert "failed for attempt 0; base='7s' is used, at most max='1h'" in caplog.text
    assert Retry(backoff=backoff, base="7s", max="5s", jitter=False).delay(OSError(), 0, NOW) == 5 * SECOND
