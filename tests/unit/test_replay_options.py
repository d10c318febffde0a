"""What the options of ``replay start`` come to, before anything is asked of Kafka."""

from __future__ import annotations

import click
import pytest

from stream_engine.cli.replay_start import _range
from stream_engine.core.instants import iso
from stream_engine.shell.errors import UserError

NOW = 1_800_000_000_000


@pytest.mark.parametrize(("until", "expected"), [(None, NOW), (NOW - 1, NOW - 1), (NOW, NOW)])
def test_a_range_ends_where_it_is_said_or_now(capsys: pytest.CaptureFixture[str], until: int, expected: int) -> None:
    assert _range(NOW - 60_000, until, NOW) == (NOW - 60_000, expected)
    assert capsys.readouterr() == ("", "")


def test_a_range_that_is_to_end_later_ends_now_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert _range(NOW - 60_000, NOW + 1, NOW) == (NOW - 60_000, NOW)
    out, told = capsys.readouterr()
    assert out == ""
    assert told.startswith(f"--to is {iso(NOW + 1)}, and it is {iso(NOW)} now: the replay is of events up to now")


def test_a_range_without_events_is_an_error() -> None:
    with pytest.raises(UserError, match="no events of that time yet"):
        _range(NOW + 1, NOW + 2, NOW)
    for until in (NOW - 10, NOW - 11):
        with pytest.raises(click.UsageError, match="--to is not after --from"):
            _range(NOW - 10, until, NOW)
