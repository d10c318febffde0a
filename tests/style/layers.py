"""Rules about who may know whom: the core is pure, layers point downwards, nothing goes in circles."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from tests.style.source import Finding, Source

PACKAGE = "stream_engine"

# What a module of each layer may import of the project. The package's own __init__ re-exports the sdk.
LAYERS = {
    "core": {"core"},
    "sdk": {"core", "sdk"},
    "shell": {"core", "sdk", "shell"},
    "testing": {"core", "sdk", "shell", "testing"},
    "cli": {"core", "sdk", "shell", "testing", "cli"},
    "": {"core", "sdk"},
}

# An allow-list, because the standard library has more doors to the world than anybody remembers. croniter computes, and asks no clock
# where it is given a time to begin at.
CORE_MAY_IMPORT = {
    "__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "copy", "croniter", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "graphlib", "hashlib", "heapq", "hmac", "itertools", "json", "keyword", "math",
    "msgspec", "operator", "random", "re", "statistics", "string", "struct", "textwrap", "types", "typing",
    "unicodedata", "uuid", "zlib", "zoneinfo",
    # Values in, a value out: CEL has no function that asks for the time, draws a number or reaches outside (ADR 10).
    "cel_expr_python",
}  # fmt: skip

# What the allowed modules still offer that reads a clock, draws a number or does I/O.
_IMPURE_NAMES = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "uuid": {"uuid1", "uuid4", "getnode"},
    "json": {"load", "dump"},
    "zoneinfo": {"available_timezones"},
}
_IMPURE_BUILTINS = {"open", "print", "input", "exec", "eval", "compile", "breakpoint"}


class Import(NamedTuple):
    """One imported module or name; `inside` tells whether the statement is in a function."""

    line: int
    name: str
    inside: bool


def imports(source: Source) -> Iterator[Import]:
    """Everything that a file imports, names as ``module.name``."""
    nested = {
        id(node)
        for function in ast.walk(source.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, id(node) in nested)
        elif isinstance(node, ast.ImportFrom):
            base = _base(source, node)
            for alias in node.names:
                yield Import(node.lineno, f"{base}.{alias.name}", id(node) in nested)


def own_imports_inside(source: Source) -> Iterator[Finding]:
    """No import of the project's own inside a function: that is how cycles are hidden."""
    for found in imports(source):
        if found.inside and found.name.split(".")[0] == PACKAGE:
            yield Finding(found.line, f"{found.name} is imported inside a function")


def imported_conftests(source: Source) -> Iterator[Finding]:
    """Nothing is imported from a conftest: a fixture of a session would be another one there, and made once more."""
    for found in imports(source):
        if "conftest" in found.name.split("."):
            yield Finding(
                found.line, f"{found.name}: put the fixture into a conftest above both, a helper into a module"
            )


def layer_breaks(source: Source) -> Iterator[Finding]:
    """A module imports only what its layer may know."""
    own = _layer(source.module)
    for found in imports(source):
        if found.name.split(".")[0] != PACKAGE:
            continue
        other = _layer(found.name)
        if other not in LAYERS[own]:
            yield Finding(found.line, f"{own or PACKAGE} imports {found.name}; it may know {sorted(LAYERS[own])}")


def core_impurity(source: Source) -> Iterator[Finding]:
    """The core reads no clock, draws no unseeded number, does no I/O and logs nothing."""
    for found in imports(source):
        top, _, rest = found.name.partition(".")
        if top not in CORE_MAY_IMPORT | {PACKAGE}:
            yield Finding(found.line, f"the core imports {found.name}")
        elif top == "random" and rest not in ("", "Random"):
            yield Finding(found.line, f"the core imports {found.name}; only random.Random(seed) is pure")
        elif rest in _IMPURE_NAMES.get(top, ()):
            yield Finding(found.line, f"the core imports {found.name}")
    for node in ast.walk(source.tree):
        if what := _impure_use(node):
            yield Finding(getattr(node, "lineno", 0), f"the core uses {what}")


def import_cycle(sources: Iterable[Source]) -> list[str]:
    """The modules of a cycle among these files, first and last the same; empty if there is none."""
    return _cycle(_graph(sources))


def folder_cycle(sources: Iterable[Source]) -> list[str]:
    """The folders of a cycle among these files, first and last the same; empty if there is none.

    What lies in a layer itself counts for none: everything of the layer may use it.
    """
    graph: dict[str, set[str]] = {}
    for name, targets in _graph(sources).items():
        graph.setdefault(_folder(name), set()).update(_folder(target) for target in targets)
    folders = {name for name in graph if name.count(".") > 1}
    return _cycle({name: (graph[name] & folders) - {name} for name in folders})


def _graph(sources: Iterable[Source]) -> dict[str, set[str]]:
    modules = {source.module: source for source in sources}
    return {
        name: {
            target
            for found in imports(source)
            if (target := _resolve(found.name, modules)) is not None and target != name
        }
        for name, source in modules.items()
    }


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _folder(module: str) -> str:
    return module.rpartition(".")[0]


def _impure_use(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _IMPURE_BUILTINS:
        return f"{node.func.id}()"
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("random.Random", "Random") and not node.args:
        return "an unseeded random.Random()"
    if isinstance(node, ast.Attribute):
        owner = ast.unparse(node.value).rpartition(".")[2]
        if node.attr in _IMPURE_NAMES.get(owner, ()) or (owner == "random" and node.attr != "Random"):
            return f"{owner}.{node.attr}"
    return None


def _base(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = source.module.split(".")
    if not source.path.endswith("/__init__.py"):
        package.pop()
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else ""


def _resolve(name: str, modules: Iterable[str]) -> str | None:
    return next((known for known in (name, name.rpartition(".")[0]) if known in modules), None)
