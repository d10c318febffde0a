"""Each style rule catches a small bad sample, and lets its good twin pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.style import layers, names, shape
from tests.style.source import Finding, Source

_BODY = "    pass\n"
_HASH = "#"

Case = tuple[Callable[[Source], Iterator[Finding]], str, str]

CASES: dict[str, Case] = {
    "file of 401 lines": (shape.file_length, "x = 1\n" * 401, "x = 1\n" * 400),
    "function of 51 lines": (shape.function_length, "def f():\n" + _BODY * 50, "def f():\n" + _BODY * 49),
    "coroutine of 51 lines": (shape.function_length, "async def f():\n" + _BODY * 50, "async def f():\n" + _BODY * 49),
    "class of 251 lines": (shape.class_length, "class C:\n" + _BODY * 250, "class C:\n" + _BODY * 249),
    "seven parameters": (
        shape.parameter_count,
        "def f(a, /, b, c, *, d, e, f, g): ...",
        "def f(a, b, c, d, e, f): ...",
    ),
    "seven and self": (
        shape.parameter_count,
        "class C:\n    def f(self, a, b, c, d, e, f, g): ...",
        "class C:\n    def f(self, a, b, c, d, e, f, *args, **kwargs): ...",
    ),
    "banner": (shape.banners, f"{_HASH} ---- helpers ----", f"{_HASH} helpers - the small ones\nx = '-----------'"),
    "banner at the end": (shape.banners, f"{_HASH} helpers ==========", f"{_HASH} helpers == useful"),
    "put off": (shape.put_off, f"{_HASH} TO" + "DO: later", f"{_HASH} what Todor does"),
    "ignore without code": (
        shape.unexplained_ignores,
        f"x = 1  {_HASH} type: ignore",
        f"x = 1  {_HASH} type: ignore[misc]  {_HASH} the library has no types",
    ),
    "ignore without reason": (
        shape.unexplained_ignores,
        f"x = 1  {_HASH} type: ignore[misc]",
        f"x = 1  {_HASH} type: ignore[misc, arg-type] - the library has no types",
    ),
    "noqa without reason": (
        shape.unexplained_ignores,
        f"x = 1  {_HASH} noqa: F401",
        f"x = 1  {_HASH} noqa: F401, E501 - re-exported",
    ),
    "noqa without code": (shape.unexplained_ignores, f"x = 1  {_HASH} noqa - because", "x = 'noqa'"),
    "mypy for a file": (
        shape.unexplained_ignores,
        f"{_HASH} mypy: disable-error-code=misc",
        f"x = 1  {_HASH} type: ignore[misc]  {_HASH} mypy: cannot see it",
    ),
    "noqa for a file": (shape.unexplained_ignores, f"{_HASH} ruff: noqa: F401 - all of it", f"{_HASH} ruff is quick"),
    "no module docstring": (shape.missing_docstrings, "x = 1", '"""What it is."""'),
    "no docstring": (
        shape.missing_docstrings,
        '"""M."""\ndef f(): ...',
        '"""M."""\ndef _f(): ...\n@overload\ndef g(): ...\ndef h():\n    """H."""\n    def inner(): ...',
    ),
    "no docstring in a class": (
        shape.missing_docstrings,
        '"""M."""\nclass C:\n    """C."""\n    def f(self): ...',
        '"""M."""\nclass C:\n    """C."""\n    def __init__(self): ...\nclass _D:\n    def f(self): ...',
    ),
    "own import inside": (
        layers.own_imports_inside,
        "def f():\n    from stream_engine.core import fence",
        "from stream_engine.core import fence\ndef f():\n    import json",
    ),
    "imported fixture": (
        layers.imported_conftests,
        "from tests.integration.conftest import broker",
        "from tests.workers import Workers",
    ),
    "registry": (names.forbidden_words, "see py" + "pi.org", "see the package index"),
    "machine path": (names.forbidden_words, "cd /wo" + "rk/main", "framework/main or $HOME/wo" + "rk/x"),
}


@pytest.mark.parametrize(("check", "bad", "good"), CASES.values(), ids=CASES)
def test_rule_catches_the_bad_sample_only(check: Callable[[Source], Iterator[Finding]], bad: str, good: str) -> None:
    assert list(check(Source("stream_engine/core/sample.py", bad)))
    assert not list(check(Source("stream_engine/core/sample.py", good)))


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        ("stream_engine/core/a.py", "from stream_engine.sdk import engine"),
        ("stream_engine/core/a.py", "from ..shell import settings"),
        ("stream_engine/core/__init__.py", "from ..shell import settings"),
        ("stream_engine/sdk/a.py", "import stream_engine.shell.settings"),
        ("stream_engine/shell/a.py", "from stream_engine.cli import main"),
        ("stream_engine/testing/a.py", "from stream_engine.cli.main import main"),
        ("stream_engine/__init__.py", "from stream_engine.cli.main import main"),
    ],
)
def test_layers_point_downwards(path: str, bad: str) -> None:
    assert list(layers.layer_breaks(Source(path, bad)))


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("stream_engine/core/a.py", "from stream_engine.core import fence\nfrom . import fence"),
        ("stream_engine/sdk/a.py", "from stream_engine.core.partition.fence import Fence"),
        (
            "stream_engine/shell/localbroker/a.py",
            "from ..settings import Settings\nfrom stream_engine.sdk import engine",
        ),
        ("stream_engine/cli/a.py", "import stream_engine.shell.settings, confluent_kafka"),
        ("stream_engine/__init__.py", "from stream_engine.sdk.engine import Engine"),
    ],
)
def test_layers_may_look_down(path: str, good: str) -> None:
    assert not list(layers.layer_breaks(Source(path, good)))


@pytest.mark.parametrize(
    "bad",
    [
        "import time",
        "import os.path",
        "import logging",
        "from asyncio import Queue",
        "import confluent_kafka",
        "from random import choice",
        "import random\nrandom.random()",
        "import random\nrandom.Random()",
        "from uuid import uuid4",
        "import uuid\nuuid.uuid4()",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime\ndatetime.now(UTC)",
        "from datetime import date\ndate.today()",
        "open('x')",
        "print('x')",
    ],
)
def test_the_core_is_pure(bad: str) -> None:
    assert list(layers.core_impurity(Source("stream_engine/core/sample.py", bad)))


def test_the_core_may_compute() -> None:
    good = "import json, random\nfrom datetime import datetime\nimport msgspec\nrandom.Random(7)\ndatetime.max\njson.loads('1')"
    assert not list(layers.core_impurity(Source("stream_engine/core/sample.py", good)))


def test_import_cycles_are_found() -> None:
    one = Source("stream_engine/core/one.py", "from stream_engine.core.two import f")
    two = Source("stream_engine/core/two.py", "from stream_engine.core import three")
    three = Source("stream_engine/core/three.py", "import stream_engine.core.one")
    assert set(layers.import_cycle([one, two, three])) == {one.module, two.module, three.module}
    assert not layers.import_cycle([one, two])


def test_cycles_of_folders_are_found_although_no_modules_make_one() -> None:
    one = Source("stream_engine/core/a/one.py", "from stream_engine.core.b.two import f")
    two = Source("stream_engine/core/b/two.py", "from stream_engine.core.top import f")
    three = Source("stream_engine/core/b/three.py", "from stream_engine.core.a import other")
    other = Source("stream_engine/core/a/other.py", "")
    top = Source("stream_engine/core/top.py", "from stream_engine.core.a import one")
    assert set(layers.folder_cycle([one, two, three, other])) == {"stream_engine.core.a", "stream_engine.core.b"}
    assert not layers.folder_cycle([one, two, other, top])


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("`core/leading/leader.py` and `stream_engine.core.leading.leader.Leader.decide`", 0),
        ("`core/leader.py`, `stream_engine.core.leader`", 2),
        ("`tests/unit/core/leader.py`", 0),
    ],
)
def test_modules_that_are_named_have_to_be_there(text: str, missing: int) -> None:
    assert len(list(names.missing_files(Source("docs/page.md", text)))) == missing
