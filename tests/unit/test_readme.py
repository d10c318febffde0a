"""What the README shows is true: its Python runs, its commands parse, and the files that it names are there."""

import asyncio
import inspect
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from stream_engine import Event, Function, testing
from stream_engine.cli.main import main
from stream_engine.cli.sample import command
from stream_engine.testing import Kit

# Where the package is only on the path, and not installed, pytest does not find its fixtures by itself.
from stream_engine.testing.plugin import stream_engine, stream_engine_app
from topologies import shop

__all__ = ["stream_engine", "stream_engine_app"]

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def readme() -> Iterator[ModuleType]:
    """The README's Python, executed from its first block to its last as one module."""
    module = ModuleType("readme")
    # Annotations are looked up in the module that a function names as its own.
    sys.modules["readme"] = module
    for number, block in enumerate(blocks(README, "python"), 1):
        exec(compile(block, f"README.md, Python block {number}", "exec"), module.__dict__)
    yield module
    del sys.modules["readme"]


def test_its_functions_are_declared(readme: ModuleType) -> None:
    assert len(blocks(README, "python")) == 5
    assert [function.id for function in readme.engine.functions] == [
        "process-order",
        "pack",
        "sync-contact",
        "reset-password",
        "reindex",
        "report",
        "resize",
    ]


def test_its_tests_pass(readme: ModuleType, stream_engine: Kit) -> None:
    tests = [test for name, test in vars(readme).items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        if inspect.iscoroutinefunction(test):
            asyncio.run(test())
        else:
            test(stream_engine)


@pytest.mark.parametrize(
    ("name", "data", "result"),
    [("pack", {"items": ["ab", "cde"]}, 5), ("resize", {"image": "cat"}, "cat, smaller")],
)
def test_its_other_functions_run(readme: ModuleType, name: str, data: object, result: object) -> None:
    function: Function[..., object] = getattr(readme, name)
    assert asyncio.run(testing.run(function, data)) == result


def test_its_plain_job_is_started_as_shown(readme: ModuleType) -> None:
    async def upload() -> str:
        async with testing.Harness(readme.engine):
            result: str = await readme.upload("cat")
            return result

    assert asyncio.run(upload()) == "cat, smaller"


@pytest.mark.parametrize(
    "line", [line for block in blocks(README + CONTRIBUTING, "bash") for line in block.splitlines()]
)
def test_its_commands_are_there(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "bash":
        assert (ROOT / words[1]).is_file()
    elif words[0] == "export":
        assert f"`{words[1].partition('=')[0]}`" in README
    else:
        assert words[0] == "stream-engine"
        parse(main, words[1:])


def parse(group: click.Group, words: list[str]) -> None:
    """Parse a command as `stream-engine` would, without running it.

    Raises:
        click.UsageError: there is no such command or option.
    """
    name, command, rest = group.resolve_command(click.Context(group), words)
    assert command is not None, name
    if isinstance(command, click.Group):
        parse(command, rest)
    else:
        command.make_context(name, rest)


def test_its_links_lead_somewhere() -> None:
    for text in (README, CONTRIBUTING):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_orders_of_the_demo_are_as_the_summary_says() -> None:
    lines = (ROOT / "topologies" / "orders.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 200
    readable = [line for line in lines if line.startswith("{") and line.endswith("}")]
    ids = [json.loads(line).get("id") for line in readable]
    assert len(ids) - len({id for id in ids if id}) - ids.count(None) == 4


def test_the_shop_sells(stream_engine: Kit) -> None:
    stream_engine.use(shop.engine)
    stream_engine.send(Event("order/placed", {"order_id": "1006", "email": "ada@example.com", "amount": 4200}))
    stream_engine.send(Event("order/placed", {"order_id": "1007", "email": "ada@example.com", "amount": 990_000}))
    stream_engine.advance()
    assert sorted((run.function, run.status) for run in stream_engine.runs()) == [
        ("process-order", "completed"),
        ("process-order", "failed"),
        ("process-order:on_failure", "completed"),
        ("remind", "completed"),
        ("send-receipt", "completed"),
    ]
    [sold] = stream_engine.runs("process-order", "completed")
    steps = [step.id for step in sold.steps]
    assert sorted(steps[:2]) == ["fraud-check", "load"], "side by side, so in any order"
    assert steps[2:] == ["charge", "notify", "settled"]
    assert sold.step("charge").attempt == 3


def test_the_shop_can_be_tried_by_the_command_that_dev_shows() -> None:
    shown = command(shop.engine)
    assert shown is not None
    parse(main, shlex.split(shown)[1:])
