"""Apache Kafka's jars, resolved by Maven from the ``pom.xml`` beside this module and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from stream_engine.shell.errors import UserError

_POM = Path(__file__).with_name("pom.xml")
_TAIL_CHARACTERS = 2000


def kafka_jars(cache: Path, *, java: Path, say: Callable[[str], None], pom: Path = _POM) -> Path:
    """The folder with the jars, fetched on first use.

    Args:
        cache: where to keep them; a folder in it is named by the hash of the ``pom.xml``.
        java: the Java that Maven runs on, where it would find none by itself.
        say: told about the download, which takes a moment.
        pom: what to resolve; by itself what the broker runs on.

    Raises:
        UserError: Maven is missing, or could not fetch them.
    """
    jars = cache / f"kafka-{hashlib.sha256(pom.read_bytes()).hexdigest()[:16]}"
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise UserError(
            "Maven fetches the local broker's jars on first use, and `mvn` is not on the PATH; install Maven "
            "(the package is called maven nearly everywhere), or start a Docker engine and install 'stream-engine[docker]'"
        )
    say("fetching Apache Kafka with Maven: about 45 MB, once")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kafka-", dir=cache) as scratch:
        fetched = Path(scratch, "jars")
        _copy_dependencies(pom, maven, java, fetched)
        try:
            # Half a download never stands under the real name.
            fetched.rename(jars)
        except OSError:
            # Somebody else was faster, with the same jars.
            if not jars.is_dir():
                raise
    return jars


def _copy_dependencies(pom: Path, maven: str, java: Path, target: Path) -> None:
    # A copy, because Maven looks for settings around the pom, and site-packages may be read-only.
    pom = Path(shutil.copy(pom, target.parent))
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    command = [maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(pom), *goal]
    env = {"JAVA_HOME": str(java.parent.parent), **os.environ}
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != 0:
        words = done.stdout.decode(errors="replace").strip()[-_TAIL_CHARACTERS:]
        raise UserError(
            f"Maven could not fetch the local broker's jars; it needs its repository once. It said:\n{words}"
        )
