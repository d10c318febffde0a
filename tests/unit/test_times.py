"""Times as users write them."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from stream_engine.cli.times import TIME, parse_time

NOW = 1_790_000_000_000


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", NOW),
        ("0", 0),
        ("1790000000123", 1_790_000_000_123),
        ("2h", NOW - 7_200_000),
        ("2h ago", NOW - 7_200_000),
        ("1.5 m ago", NOW - 90_000),
        ("500ms", NOW - 500),
        ("7d", NOW - 7 * 86_400_000),
        ("1970-01-02", 86_400_000),
        ("19700102", 86_400_000),
        ("1970-01-01T01:00", 3_600_000),
        ("1970-01-01 01:00:00", 3_600_000),
        ("1970-01-01T01:00:00Z", 3_600_000),
        ("1970-01-01T01:00:00.123Z", 3_600_123),
        ("1970-01-01T01:00:00+01:00", 0),
        (" 1970-01-01T00:00:00Z ", 0),
    ],
)
def test_a_time(text: str, at: int) -> None:
    assert parse_time(text, NOW) == at


@pytest.mark.parametrize(
    "text", ["", "soon", "ago", "5", "2026", "-1h", "2 weeks", "2026-13-01", "1970-01-01T25:00", "12:00", "9" * 16]
)
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time; write ISO 8601"):
        parse_time(text, NOW)


def test_a_wrong_time_is_a_usage_error_that_names_it() -> None:
    @click.command()
    @click.option("--since", type=TIME)
    def command(since: int) -> None:
        click.echo(since)

    wrong = CliRunner().invoke(command, ["--since", "yesterdayish"])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "'yesterdayish' is not a time" in wrong.stderr
    assert CliRunner().invoke(command, ["--since", "1970-01-01T00:00:01Z"]).stdout == "1000\n"
