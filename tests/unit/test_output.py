"""What is printed of texts that come from anywhere."""

import pytest
from rich.text import Text

from stream_engine.cli.output import print_lines


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines([Text("a\x1b[31mred\x00\x9b\x7fb\nc")])
    assert capsys.readouterr().out == "a␛[31mred␀\ufffd␡b\nc\n"
