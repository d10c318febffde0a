"""What is stated in two places is the same in both, and the wheel holds what the package reads."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from stream_engine.shell.localbroker.kraft import MAX_MESSAGE_BYTES
from tests.style.source import ROOT, project_files


def _only_match(pattern: str, path: str) -> str:
    found = re.findall(pattern, (ROOT / path).read_text())
    assert len(found) == 1, f"{path}: {pattern!r} matches {found}"
    return str(found[0])


def test_docker_and_java_run_the_same_kafka() -> None:
    pom = "stream_engine/shell/localbroker/pom.xml"
    jars = _only_match(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([\d.]+)</version>", pom)
    assert _only_match(r"image: apache/kafka:(\S+)", "docker/compose.yaml") == jars
    assert _only_match(r'KAFKA_MESSAGE_MAX_BYTES: "(\d+)"', "docker/compose.yaml") == str(MAX_MESSAGE_BYTES)


def test_the_image_has_a_python_that_the_package_supports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = _only_match(r"FROM python:([\d.]+)-slim", "docker/Dockerfile")
    assert project["requires-python"] == f">={version}"


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)
    kept = (ROOT / "docker/Dockerfile.dockerignore").read_text().splitlines()
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in kept, name


def test_the_lock_covers_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(need for extra in project["optional-dependencies"].values() for need in extra)]
    names = {re.split(r"[\[<>=]", need)[0] for need in asked} - {project["name"]}
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert names <= locked, f"renew requirements.lock; it lacks {names - locked}"


def test_the_wheel_holds_what_the_package_reads(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    ours = {source.path for source in project_files() if source.is_in("stream_engine")}
    schemas = {f"stream_engine/{source.path}" for source in project_files() if source.is_in("schemas")}
    assert ours | schemas <= held
    assert not {name for name in held if name.startswith(("tests/", "docs/", "topologies/"))}
