"""Rules about the shape of code: how long, how wide, and what comments may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.style.source import Finding, Source

FUNCTION_LINES = 50
CLASS_LINES = 250
FILE_LINES = 400
PARAMETERS = 6

Function = ast.FunctionDef | ast.AsyncFunctionDef

_BANNER = re.compile(r"^#+\s*([-=*~_+#─═])\1{2,}|([-=*~_+#─═])\2{5,}")
# Written in pieces, so that this file does not break its own rule.
_LATER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
_TYPE_IGNORE = re.compile(r"#\s*type:\s*ignore(?P<rest>.*)")
_TYPE_IGNORE_FORM = re.compile(r"\[[a-z-]+(?:, ?[a-z-]+)*\]\s+(?:#|-)\s*\S.{4,}")
_NOQA = re.compile(r"#\s*noqa(?P<rest>.*)", re.IGNORECASE)
_NOQA_FORM = re.compile(r": ?[A-Z]+\d+(?:, ?[A-Z]+\d+)*\s+(?:#|-)\s*\S.{4,}")
_WHOLE_FILE = re.compile(r"^#\s*(?:ruff|flake8):\s*noqa|^#\s*mypy:\s")


def file_length(source: Source) -> Iterator[Finding]:
    """A file is at most 400 lines; a longer one holds two ideas."""
    lines = len(source.text.splitlines())
    if lines > FILE_LINES:
        yield Finding(lines, f"the file has {lines} lines, {FILE_LINES} are allowed")


def function_length(source: Source) -> Iterator[Finding]:
    """A function is at most 50 lines, its docstring included."""
    for node in ast.walk(source.tree):
        if isinstance(node, Function) and (lines := _lines(node)) > FUNCTION_LINES:
            yield Finding(node.lineno, f"{node.name}() has {lines} lines, {FUNCTION_LINES} are allowed")


def class_length(source: Source) -> Iterator[Finding]:
    """A class is at most 250 lines."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef) and (lines := _lines(node)) > CLASS_LINES:
            yield Finding(node.lineno, f"class {node.name} has {lines} lines, {CLASS_LINES} are allowed")


def parameter_count(source: Source) -> Iterator[Finding]:
    """A function has at most 6 parameters, keyword-only ones included, self and cls not."""
    for node in ast.walk(source.tree):
        if not isinstance(node, Function):
            continue
        names = [parameter.arg for parameter in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        if count > PARAMETERS:
            yield Finding(node.lineno, f"{node.name}() has {count} parameters, {PARAMETERS} are allowed")


def banners(source: Source) -> Iterator[Finding]:
    """No lines drawn with comments: a file that needs sections is two files."""
    for line, comment in source.comments:
        if _BANNER.search(comment):
            yield Finding(line, f"a comment used as a banner: {comment}")


def put_off(source: Source) -> Iterator[Finding]:
    """No notes about what is still to be done: that is an issue, or it is done."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if match := _LATER.search(line):
            yield Finding(number, f"{match[0]}: do it, or file an issue")


def unexplained_ignores(source: Source) -> Iterator[Finding]:
    """An exception from lint or types names its code and its reason on the same line, and is never for a whole file."""
    for line, comment in source.comments:
        if _WHOLE_FILE.search(comment):
            yield Finding(line, f"an exception for the whole file: {comment}")
            continue
        for pattern, form in ((_TYPE_IGNORE, _TYPE_IGNORE_FORM), (_NOQA, _NOQA_FORM)):
            match = pattern.search(comment)
            if match and not form.match(match["rest"]):
                yield Finding(line, f"an exception without its code or its reason: {comment}")


def missing_docstrings(source: Source) -> Iterator[Finding]:
    """Every module, and every public class, function and method in it, has a docstring."""
    if ast.get_docstring(source.tree) is None and source.text.strip():
        yield Finding(1, "the module has no docstring")
    yield from _undocumented(source.tree)


def _undocumented(scope: ast.Module | ast.ClassDef) -> Iterator[Finding]:
    for node in scope.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_") or _is_variant(node):
            continue
        if ast.get_docstring(node) is None:
            yield Finding(node.lineno, f"{node.name} has no docstring")
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node)


def _is_variant(node: Function | ast.ClassDef) -> bool:
    """Whether it only adds to something documented elsewhere: an overload, a setter, an override."""
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(names & {"overload", "setter", "deleter", "override"})


def _lines(node: Function | ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
