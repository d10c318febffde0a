"""Rules about words that no file of the project may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.style.source import Finding, Source

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


def forbidden_words(source: Source) -> Iterator[Finding]:
    """No package registry's host, and no path of somebody's machine."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if match := _FORBIDDEN.search(line):
            yield Finding(number, f"names {match[0]!r}: a registry's host or a path of one machine")
