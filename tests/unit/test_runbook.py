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
    found = re.findall(r"^ *```bash\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [line.strip() for block in found for line in block.splitlines()]


def test_every_section_has_commands() -> None:
    sections = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]
    assert [section.partition("\n")[0] for section in sections] == [
        "A bad deploy",
        "A poison event",
        "A stuck key",
        "A full disk",
        "A lost broker",
        "A rolling upgrade",
        "More partitions",
    ]
    assert all(blocks(section) for section in sections)


@pytest.mark.parametrize("line", blocks(RUNBOOK))
def test_its_commands_are_there(line: str) -> None:
    words = [_STAND_INS.get(word, word) for word in shlex.split(line)]
    if words[0] == "export":
        assert f"`{words[1].partition('=')[0]}`" in README
    elif words[0] not in _KAFKA:
        assert words[0] == "stream-engine"
        parse(main, words[1:])
