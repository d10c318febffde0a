"""What is printed of texts that come from anywhere."""

import pytest
from rich.text import Text

from stream_engine.cli.output import print_lines, progress_of, reading_history


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines([Text("a\x1b[31mred\x00\x9b\x7fb\nc")])
    assert capsys.readouterr().out == "a␛[31mred␀\ufffd␡b\nc\n"


def test_how_far_something_is_shows_on_a_terminal_s_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with progress_of("counting sheep") as progress:
        progress(1, 4)
    with reading_history() as progress:
        progress(3, 4)
    out, err = capsys.readouterr()
    assert out == ""
    assert "counting sheep" in err.partition("reading history")[0]
    assert (" 25%" in err, " 75%" in err.partition("reading history")[2]) == (True, True)


def test_elsewhere_it_does_not_show(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with progress_of("counting sheep") as progress:
        progress(1, 4)
    assert capsys.readouterr() == ("", "")
