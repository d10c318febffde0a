"""The style rules, held against every file of the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.style import layers, names, shape
from tests.style.source import Finding, Source, project_files, python_files


class Rule(NamedTuple):
    """A rule, and the files that it is about: the Python files of some folders, all of them, or all text files."""

    check: Callable[[Source], Iterator[Finding]]
    folders: tuple[str, ...] = ()
    any_text: bool = False


RULES = (
    Rule(shape.file_length),
    Rule(shape.function_length),
    Rule(shape.class_length),
    Rule(shape.parameter_count),
    Rule(shape.banners),
    Rule(shape.put_off, any_text=True),
    Rule(shape.unexplained_ignores),
    Rule(shape.missing_docstrings, ("stream_engine",)),
    Rule(layers.own_imports_inside, ("stream_engine",)),
    Rule(layers.imported_conftests),
    Rule(layers.layer_breaks, ("stream_engine",)),
    Rule(layers.core_impurity, ("stream_engine/core",)),
    Rule(names.forbidden_words, any_text=True),
    Rule(names.missing_files, any_text=True),
)

# (rule, path) -> why this file may break it. Keep it short; the core has no place in it.
EXEMPT: dict[tuple[str, str], str] = {}

# Texts that are not ours.
_FOREIGN = {"LICENSE", "requirements.lock"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.check.__name__)
def test_rule_holds(rule: Rule) -> None:
    findings = [f"{path}:{finding.line}: {finding.what}" for path, finding in _broken(rule) if not _exempt(rule, path)]
    assert not findings, "\n".join([str(rule.check.__doc__), *findings])


def test_there_are_no_import_cycles() -> None:
    cycle = layers.import_cycle(python_files("stream_engine"))
    assert not cycle, " imports ".join(cycle)


def test_there_are_no_cycles_among_the_folders_of_a_layer() -> None:
    cycle = layers.folder_cycle(python_files("stream_engine"))
    assert not cycle, " imports ".join(cycle)


def test_every_exemption_is_needed_and_none_is_for_the_core() -> None:
    by_name = {rule.check.__name__: rule for rule in RULES}
    for (name, path), reason in EXEMPT.items():
        assert reason, f"{name} {path}: give a reason"
        assert not path.startswith("stream_engine/core/"), f"{path}: the core has no exemption"
        assert path in {broken for broken, _ in _broken(by_name[name])}, f"{name} {path}: no longer needed, remove it"


def _broken(rule: Rule) -> Iterator[tuple[str, Finding]]:
    sources = project_files() if rule.any_text else python_files(*rule.folders)
    for source in sources:
        if source.path not in _FOREIGN:
            yield from ((source.path, finding) for finding in rule.check(source))


def _exempt(rule: Rule, path: str) -> bool:
    return (rule.check.__name__, path) in EXEMPT
