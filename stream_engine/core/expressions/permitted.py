"""What an expression may use of CEL: macros and patterns whose cost is linear in the size of the event, and fields that events have."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

FIELDS = ("name", "id", "ts", "data")
"""What expressions see of an event."""

MOST_REPEATED = 200
"""How often the parts of a pattern may be repeated by count, together: each time is a copy in the compiled pattern."""

_LINEAR = {"exists", "all", "exists_one", "existsOne"}
_SQUARE = {"map", "filter", "transformList", "transformMap", "transformMapEntry"}

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
      | (?P<text>(?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
      | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_]")
_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}")


class _Token(NamedTuple):
    text: str
    column: int
    is_literal: bool = False


_NONE = _Token("", 0)


def problem(text: str, names: frozenset[str]) -> str | None:
    """Return what an expression over events of these names uses that it may not, or None."""
    tokens = list(_tokens(text))
    inside: list[bool] = []
    for index, token in enumerate(tokens):
        if token.text == "(":
            inside.append(_is_macro(tokens, index))
        elif token.text == ")" and inside:
            inside.pop()
        elif not token.is_literal:
            wrong = _problem_of(tokens, index, names, inside=any(inside))
            if wrong is not None:
                return f"column {token.column}: {wrong}"
    return None


def _problem_of(tokens: list[_Token], index: int, names: frozenset[str], *, inside: bool) -> str | None:
    word = tokens[index].text
    before, after = _at(tokens, index - 1), _at(tokens, index + 1)
    is_method = before.text == "." and after.text == "("
    if is_method and word in _SQUARE:
        return f"{word} is not allowed, because it may take very long; there are all, exists and exists_one"
    if is_method and word in _LINEAR and inside:
        return f"{word} may not stand within another of all, exists and exists_one"
    if word == "matches" and after.text == "(":
        return _pattern_problem(tokens, index, is_method=is_method, inside=inside)
    if word in names and before.text != ".":
        if inside:
            return f"within all, exists and exists_one, an element is compared with fixed values, and not with {word}"
        field = _at(tokens, index + 2)
        is_field = after.text == "." and _WORD.match(field.text) is not None
        if is_field and field.text not in FIELDS and _at(tokens, index + 3).text != "(":
            return f"{word} has {', '.join(FIELDS[:-1])} and {FIELDS[-1]}, and no {field.text}: write {word}.data.{field.text}"
    return None


def _pattern_problem(tokens: list[_Token], index: int, *, is_method: bool, inside: bool) -> str | None:
    if inside:
        return "matches may not stand within all, exists and exists_one; there are startsWith, endsWith and contains"
    pattern = _at(tokens, index + 2)
    if not (is_method and pattern.is_literal and _at(tokens, index + 3).text == ")"):
        return "a pattern is fixed, because one from an event may take very long: write event.data.x.matches('...')"
    counts = [max(int(low), int(high or 0)) for low, high in _COUNT.findall(pattern.text)]
    if re.search(r"\)\{\d", pattern.text) or sum(counts) > MOST_REPEATED:
        return (
            f"a pattern may not repeat a group by count, nor parts more than {MOST_REPEATED} times together, "
            "because that may take very long; there are * + and ?"
        )
    return None


def _at(tokens: list[_Token], index: int) -> _Token:
    return tokens[index] if 0 <= index < len(tokens) else _NONE


def _is_macro(tokens: list[_Token], index: int) -> bool:
    return _at(tokens, index - 1).text in _LINEAR and _at(tokens, index - 2).text == "."


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        if found["skip"] is None:
            yield _Token(found[0], found.start() + 1, found["text"] is not None)


def pieces(text: str) -> Iterator[str]:
    """Give an expression word by word and mark by mark, with its texts whole and its blanks."""
    return (found[0] for found in _TOKEN.finditer(text))


def has_words(text: str, *words: str) -> bool:
    """Return whether one of these stands in an expression, outside of its texts."""
    tokens = [token.text for token in _tokens(text) if not token.is_literal]
    return bool({*tokens, *("".join(pair) for pair in pairwise(tokens))}.intersection(words))
