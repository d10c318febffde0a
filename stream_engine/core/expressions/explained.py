"""What the library says of a text that is no expression, in words for whoever wrote it: what is wrong, where in the text, and what to do."""

import re

from stream_engine.core.expressions.permitted import has_words

_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_CODE = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")
_SYNTAX = re.compile(
    r"""Syntax\ error:\ (?:
        (?:mismatched\ input|extraneous\ input|no\ viable\ alternative\ at\ input)\ '(?P<found>.*?)'(?:\ expecting\ (?P<expected>.*))?
      | missing\ (?P<missing>'.*?')\ at\ .*
      | token\ recognition\ error\ at:\ '(?P<unknown>.*)'
    )$""",
    re.VERBOSE,
)
_SINGLE = re.compile("'[=&|]' is no part")
_PYTHONS = ("None", "True", "False")
_WORDS = "CEL has && || ! == null true false"
_EXAMPLE = "write for example event.data.total > 100"


def explained(text: str, error: str, names: frozenset[str]) -> str:
    """Return in words why a text over events of these names did not compile."""
    if "recursion" in error:
        return "it is nested too deep, or has too many operators in a row; 32 levels are allowed"
    place = _PLACE.search(error)
    if place is None:
        return without_code(error)
    line, column, what = place.groups()
    where = f"column {column}" if line == "1" else f"line {line}, column {column}"
    return f"{where}: {_what(text, without_code(what), names)}"


def without_code(error: str) -> str:
    """Return an error of the library without the codes that stand around it."""
    return _CODE.sub("", error)


def _what(text: str, what: str, names: frozenset[str]) -> str:
    if what.startswith("undeclared reference"):
        name, given = what.split("'")[1], " and ".join(sorted(names))
        is_call, is_field = f"{name}(" in text, name.partition(".")[0] == "data"
        own, hint = " with their own arguments" if is_call else "", f" (write event.{name}?)" if is_field else ""
        there_are = _WORDS if name in _PYTHONS else f"there are {given}, and CEL's functions{own}{hint}"
        return f"{what.partition(' (')[0]}; {there_are}"
    if "'_?_:_'" in what:
        return f"{what}; what stands before and behind the colon is of one type, as in x ? 1.0 : 0.5"
    found = _SYNTAX.match(what)
    if found is not None:
        what = f"Syntax error: {_of_syntax(found)}"
    if has_words(text, "and", "or", "not", "is", *_PYTHONS) or _SINGLE.search(what):
        return f"{what}; {_WORDS}"
    return what if found is None else f"{what}; {_EXAMPLE}"


def _of_syntax(error: re.Match[str]) -> str:
    if error["missing"] is not None:
        return f"{error['missing']} is missing"
    if error["unknown"] is not None:
        return _of_unknown(error["unknown"].strip() or error["unknown"])
    found, expected = error["found"], error["expected"] or ""
    what = "it ends too early" if found == "<EOF>" else f"'{found}' cannot stand here"
    if found.startswith("."):
        return f"{what}: a dot is followed by the name of a field"
    if "IDENTIFIER" in expected:
        return f"{what}: a value is missing"
    if expected == "<EOF>":
        return f"{what}: an operator is missing before it, or the expression ends"
    return f"{what}: {' or '.join(expected.strip('{}').split(', '))} is missing" if expected else what


def _of_unknown(mark: str) -> str:
    if mark.startswith(("'", '"')):
        return f"the text that begins with {mark[:20]} has no end, or a \\ before what needs none"
    return f"'{mark}' is no part of an expression"
