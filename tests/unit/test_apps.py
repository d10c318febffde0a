"""Which app a command is about, and what is said where its code cannot be had."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_engine.cli import apps
from stream_engine.cli.apps import load_engine, resolve_app_name
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating.apps import named_by
from stream_engine.shell.settings import Settings

SETTINGS = Settings(state_dir=Path("/nowhere"), bootstrap_servers="broker:9092")
CODE = 'from stream_engine.sdk.engine import Engine\n\nengine = Engine("shop")\nother = Engine("other")\nnumber = 7\n'


@pytest.fixture(autouse=True)
def _clean_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def _write(name: str, code: str = CODE) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, "utf-8")
    return path


def test_an_engine_in_a_file() -> None:
    _write("apps/shop_of_test.py", "from beside_of_test import engine")
    _write("apps/beside_of_test.py")
    assert load_engine("apps/shop_of_test.py:engine").name == "shop"
    assert load_engine("apps/shop_of_test.py:engine") is load_engine(f"{Path.cwd()}/apps/shop_of_test.py:engine")


def test_a_file_may_have_the_name_of_a_module() -> None:
    _write("apps/json.py")
    before = sys.modules["json"]
    assert load_engine("apps/json.py:engine").name == "shop"
    assert sys.modules["json"] is before


def test_an_engine_in_a_module_of_the_current_folder() -> None:
    _write("package_of_test/__init__.py", "")
    _write("package_of_test/shop.py")
    assert load_engine("package_of_test.shop:engine").name == "shop"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop.py", "'shop.py' does not say where an Engine is; write module:attribute or file.py:attribute"),
        (":engine", "':engine' does not say where"),
        ("shop:", "'shop:' does not say where"),
        ("none.py:engine", "there is no file none.py in "),
        ("/none.py:engine", "there is no file /none.py"),
        ("no_such_module:engine", "there is no module 'no_such_module' in "),
        ("package_of_test.none:engine", "there is no module 'package_of_test.none' in "),
        ("shop_of_test.py:app", "shop_of_test.py has no 'app'; it has shop_of_test.py:engine, shop_of_test.py:other"),
        ("shop_of_test.py:number", "shop_of_test.py has a int as 'number', not an Engine; it has shop_of_test.py:engine"),
        ("empty_of_test.py:engine", "it has no Engine; make one, as in: engine = Engine("),
        ("broken_of_test.py:engine", "broken_of_test.py failed: ZeroDivisionError: division by zero ("),
        ("broken_of_test.py:engine", "broken_of_test.py:2)"),
        ("broken_of_test:engine", "importing broken_of_test failed: ZeroDivisionError"),
        ("syntax_of_test.py:engine", "syntax_of_test.py:1)"),
        ("missing_of_test.py:engine", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("missing_of_test:engine", "importing missing_of_test failed: ModuleNotFoundError: No module named 'no_such_library'"),
        ("a_folder.py:engine", "there is no file a_folder.py"),
        ("nulls_of_test.py:engine", "nulls_of_test.py)"),
        ("exit_of_test:engine", "importing exit_of_test failed: SystemExit: 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(target: str, message: str) -> None:
    _write("package_of_test/__init__.py", "")
    _write("shop_of_test.py")
    _write("empty_of_test.py", "")
    _write("broken_of_test.py", "x = 1\ny = x / 0\n")
    _write("syntax_of_test.py", "def (:\n")
    _write("missing_of_test.py", "import no_such_library\n")
    _write("nulls_of_test.py", "\0")
    Path("a_folder.py").mkdir()
    _write("exit_of_test.py", "raise SystemExit(3)\n")
    with pytest.raises(UserError, match=re.escape(message)):
        load_engine(target)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('engine.function("f", retries=99)', "function 'f': retries=99: give a whole number from 0 to 20"),
        (
            'engine.function("f", retriez=3)',
            "function 'f': retriez=3: there is no such option; did you mean 'retries'?",
        ),
        ('engine.function("f")(lambda: 3)', "function 'f': it is called with (ctx), but has ()"),
        ('Retry(4, backoff="cubic")', "Retry: backoff='cubic': give one of exponential, linear"),
        ('Engine("shop", events="a b")', "Engine: events='a b': Kafka's topics are called after it"),
    ],
)
def test_what_is_declared_wrong_is_said_with_the_users_line(line: str, message: str) -> None:
    _write("beside_of_test.py", f"from stream_engine import Engine, Retry\n{CODE}\n\n{line}\n")
    _write("shop_of_test.py", "from beside_of_test import engine\n")
    for app in ("beside_of_test.py", "shop_of_test.py", "shop_of_test"):
        with pytest.raises(UserError) as caught:
            load_engine(f"{app}:engine")
        assert str(caught.value).startswith(f"{Path.cwd()}/beside_of_test.py:9: {message}")


def test_an_app_that_is_wrong_as_a_whole_is_not_loaded() -> None:
    _write("shop_of_test.py", f"{CODE}\n\n@engine.function('f', accepts_new=False)\nasync def f(ctx): ...\n")
    with pytest.raises(UserError, match=r"^shop_of_test.py: function 'f': accepts_new=False on every version; exactly"):
        load_engine("shop_of_test.py:engine")


def test_the_app_is_the_one_named_or_the_settings_one() -> None:
    _write("shop_of_test.py")
    settings = Settings(state_dir=Path("/nowhere"), app="theirs")
    assert resolve_app_name("mine", settings) == "mine"
    assert resolve_app_name(None, settings) == "theirs"
    assert resolve_app_name("shop_of_test.py:other", settings) == "other"


def test_without_a_name_the_app_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "apps", lambda _: ["shop"])
    assert resolve_app_name(None, SETTINGS) == "shop"


@pytest.mark.parametrize(
    ("found", "message"),
    [([], "no app has topics on broker:9092"), (["a", "b"], "2 apps have topics on broker:9092: a, b; say which one")],
)
def test_without_a_name_there_must_be_one_app(monkeypatch: pytest.MonkeyPatch, found: list[str], message: str) -> None:
    monkeypatch.setattr(apps, "apps", lambda _: found)
    with pytest.raises(UserError, match=message):
        resolve_app_name(None, SETTINGS)


@pytest.mark.parametrize(
    ("topics", "names"),
    [
        (["shop.events", "shop.commands", "shop.journal", "shop.control", "shop.history"], ["shop"]),
        (["shop.journal"], ["shop"]),
        (["shop.control"], ["shop"]),
        (["b.commands", "a.b.commands"], ["a.b", "b"]),
        (["shop.events", "shop.history", "shop.state", ".commands", "commands"], []),
    ],
)
def test_an_app_is_known_by_any_of_the_topics_that_it_cannot_do_without(topics: list[str], names: list[str]) -> None:
    assert named_by(topics) == names
