"""Rules about words that no file of the project may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.style.source import ROOT, Finding, Source

# Each is written in pieces, so that this file does not break its own rule. Where packages come from is the installer's
# configuration, and a mirror's user must not find another address in here.
_HOSTS = (
    "py" + "pi.org",
    "python" + "hosted.org",
    "repo.maven." + "apache.org",
    "repo1." + "maven.org",
    "search." + "maven.org",
    "central." + "sonatype",
    "packages." + "confluent.io",
    "crates" + ".io",
    "registry." + "npmjs",
    "proxy." + "golang.org",
    "deb." + "debian.org",
    "docker" + ".io",
    "quay" + ".io",
    "ghcr" + ".io",
)
_PLACES = (
    r"(?<![\w.$}])/wo" + r"rk/",
    r"\.lib" + r"rary\b",
    r"(?<![\w.$}])/ro" + r"ot/",
    r"(?<![\w.$}])/ho" + r"me/\w",
)
_FORBIDDEN = re.compile("|".join([*map(re.escape, _HOSTS), *_PLACES]), re.IGNORECASE)

_LAYER = r"(?:core|shell|sdk|cli|testing)"
_NAMED = re.compile(rf"(?<![\w/.])({_LAYER}(?:/\w+)+)\.py\b|\bstream_engine\.({_LAYER}(?:\.[a-zA-Z_]+)+)")


def missing_files(source: Source) -> Iterator[Finding]:
    """A module of the package that a text names is there."""
    if source.is_in("tests/style"):
        return
    for number, line in enumerate(source.text.splitlines(), 1):
        for path, dotted in _NAMED.findall(line):
            if not _exists((path or dotted.replace(".", "/")).split("/")):
                yield Finding(number, f"there is no module {path or dotted}")


def _exists(names: list[str]) -> bool:
    """Return whether there is a module or package of these names, or of the first of them: the others are inside a module then."""
    path = ROOT / "stream_engine"
    for name in names:
        path /= name
        if path.with_suffix(".py").is_file():
            return True
        if not path.is_dir():
            init = path.parent / "__init__.py"
            made = re.compile(rf"^(?:from .* import .*|(?:async )?def ){name}\b", re.MULTILINE)
            return init.is_file() and made.search(init.read_text("utf-8")) is not None
    return True


def forbidden_words(source: Source) -> Iterator[Finding]:
    """No package registry's host, and no path of somebody's machine."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if match := _FORBIDDEN.search(line):
            yield Finding(number, f"names {match[0]!r}: a registry's host or a path of one machine")
