"""What docs/coordination.md shows runs as it is written."""

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "coordination.md").read_text("utf-8")


def test_the_fraud_check_runs() -> None:
    module = ModuleType("coordination")
    sys.modules["coordination"] = module  # annotations are looked up there
    try:
        for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
            exec(compile(block, "coordination.md", "exec"), module.__dict__)
        tests = [test for name, test in vars(module).items() if name.startswith("test_")]
        assert len(tests) == 1
        for test in tests:
            asyncio.run(test())
    finally:
        del sys.modules["coordination"]
