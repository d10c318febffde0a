"""The project's own files, as the style rules see them."""

from __future__ import annotations

import ast
import io
import subprocess
import tokenize
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Finding(NamedTuple):
    """One place that breaks a rule."""

    line: int
    what: str


@dataclass(frozen=True)
class Source:
    """One file: its path from the top of the repository, with slashes, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree of a Python file."""
        return ast.parse(self.text, self.path)

    @cached_property
    def comments(self) -> list[tuple[int, str]]:
        """Line number and text of each comment of a Python file."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]

    @property
    def module(self) -> str:
        """The dotted name under which this file is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def is_in(self, *folders: str) -> bool:
        """Whether the file is in one of these folders, at any depth."""
        return self.path.startswith(tuple(f"{folder}/" for folder in folders))


@cache
def project_files() -> tuple[Source, ...]:
    """Every text file that is or would be in the repository."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    # A file that is deleted and not yet committed is still listed.
    paths = [path for path in sorted(set(listed.split("\0"))) if path and (ROOT / path).is_file()]
    return tuple(source for path in paths if (source := _read(path)) is not None)


def python_files(*folders: str) -> list[Source]:
    """The Python files, of these folders only if any are named."""
    return [
        source for source in project_files() if source.path.endswith(".py") and (not folders or source.is_in(*folders))
    ]


def _read(path: str) -> Source | None:
    try:
        return Source(path, (ROOT / path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return None
