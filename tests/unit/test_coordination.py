"""What docs/coordination.md shows runs as it is written: each section is a module of its own, with a test of its own."""

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "coordination.md").read_text("utf-8")
SECTIONS = dict(part.split("\n", 1) for part in re.split(r"^## ", GUIDE, flags=re.MULTILINE)[1:])


@pytest.mark.parametrize("title", SECTIONS)
def test_the_section_runs(title: str) -> None:
    module = ModuleType("coordination")
    sys.modules["coordination"] = module  # annotations are looked up there
    try:
        for block in re.findall(r"```python\n(.*?)```", SECTIONS[title], re.DOTALL):
            exec(compile(block, "coordination.md", "exec"), module.__dict__)
        tests = [test for name, test in vars(module).items() if name.startswith("test_")]
        assert len(tests) == 1
        for test in tests:
            asyncio.run(test())
    finally:
        del sys.modules["coordination"]
