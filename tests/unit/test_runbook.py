"""What the runbook tells operators to type is there: its commands parse, and its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from typing import Final

import pytest

from stream_engine.cli.main import main
from tests.unit.test_readme import README, ROOT, parse

RUNBOOK: Final = (ROOT / "docs" / "runbook.md").read_text("utf-8")
_KAFKA: Final = frozenset({"kafka-consumer-groups.sh", "kafka-topics.sh", "kafka-configs.sh"})
_STAND_INS: Final = {"LETTER": "0-0", "RUN": f"{'a' * 24}-0"}


def blocks(text: str) -> list[str]:
    """Return the commands of a page, one a line; those in lists are indented."""
    return [line for block in _blocks(text) for line in block]


def parts(section: str) -> list[list[str]]:
    """Return the blocks of commands of a section, in their order."""
    return _blocks(re.split(rf"^## {section}\n", RUNBOOK, flags=re.MULTILINE)[1].partition("\n## ")[0])


def _blocks(text: str) -> list[list[str]]:
    found = re.findall(r"^ *```bash\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [[line.strip() for line in block.splitlines()] for block in found]


SECTIONS: Final = (
    "A bad deploy",
    "A poison event",
    "A stuck key",
    "A full disk",
    "Events that expired before they were routed",
    "A lost broker",
    "A rolling upgrade",
    "More partitions",
)


def test_every_section_has_commands() -> None:
    found = re.findall(r"^## (.*)$", RUNBOOK, re.MULTILINE)
    assert tuple(found) == SECTIONS
    assert all(parts(section) for section in SECTIONS)


@pytest.mark.parametrize("line", blocks(RUNBOOK))
def test_its_commands_are_there(line: str) -> None:
    words = [_STAND_INS.get(word, word) for word in shlex.split(line)]
    if words[0] == "export":
        assert f"`{words[1].partition('=')[0]}`" in README
    elif words[0] not in _KAFKA:
        assert words[0] == "stream-engine"
        parse(main, words[1:])


def test_each_command_is_tried_on_a_real_broker() -> None:
    code = "".join(
        path.read_text("utf-8") for path in (ROOT / "tests" / "integration" / "behaviours").glob("test_*.py")
    )
    tried = {
        (section, int(number))
        for section, numbers in re.findall(r'^@tries\("(.*?)"((?:, \d+)+)\)$', code, re.MULTILINE)
        for number in numbers.split(", ")[1:]
    }
    assert tried == {(section, number) for section in SECTIONS for number in range(len(parts(section)))}
