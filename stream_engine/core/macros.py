"""Which of CEL's macros an expression may use, and how: those whose cost is linear in the size of the event."""

import re
from collections.abc import Iterator

_LINEAR = {"exists", "all", "exists_one", "existsOne"}
_SQUARE = {"map", "filter", "transformList", "transformMap", "transformMapEntry"}

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*
      | (?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
      | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)


def macro_problem(text: str, names: frozenset[str]) -> str | None:
    """Return what is wrong with the macros of an expression over events of these names, or None."""
    tokens = list(_tokens(text))
    inside: list[bool] = []
    for index, (word, column) in enumerate(tokens):
        before = tokens[index - 1][0] if index else ""
        after = tokens[index + 1][0] if index + 1 < len(tokens) else ""
        if word == "(":
            inside.append(_is_macro(tokens, index))
        elif word == ")" and inside:
            inside.pop()
        elif before == "." and after == "(" and word in _SQUARE:
            return f"column {column}: {word} is not allowed, because it may take very long; there are all, exists and exists_one"
        elif before == "." and after == "(" and word in _LINEAR and any(inside):
            return f"column {column}: {word} may not stand within another of all, exists and exists_one"
        elif word in names and before != "." and any(inside):
            return f"column {column}: within all, exists and exists_one, an element is compared with fixed values, and not with {word}"
    return None


def _is_macro(tokens: list[tuple[str, int]], index: int) -> bool:
    return index > 1 and tokens[index - 1][0] in _LINEAR and tokens[index - 2][0] == "."


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    for found in _TOKEN.finditer(text):
        if found["skip"] is None:
            yield found[0], found.start() + 1
