"""Expressions taken apart, as far as that needs no more than their words: what they join by ``&&``, and which events and fields they are about."""

from collections.abc import Collection
from itertools import pairwise
from typing import Final

from stream_engine.core.expressions.permitted import pieces

_OPENING: Final = ("(", "[", "{")
_CLOSING: Final = (")", "]", "}")


def conjuncts(text: str) -> list[str]:
    """Return what has to hold, each by itself, for an expression to hold: what ``&&`` joins at its top.

    They can be joined by ``&&`` again as they are, and are then no longer than the expression was; comments are left out.
    """
    text = "".join(piece for piece in pieces(text) if not piece.startswith("//"))
    parts = [""]
    depth = 0
    after_and = False
    for piece in pieces(text):
        depth += (piece in _OPENING) - (piece in _CLOSING)
        if depth == 0 and piece in ("?", "|"):
            return [f"({_bare(text)})"]
        if depth == 0 and piece == "&":
            if after_and:
                parts.append("")
            after_and = not after_and
        else:
            parts[-1] += piece
    if len(parts) > 1:
        return [part for whole in parts for part in conjuncts(whole)]
    bare = _bare(text)
    return [bare] if bare == text.strip() else conjuncts(bare)


def mentions(text: str, name: str) -> bool:
    """Return whether an expression is about the event of a name."""
    words = ["", *(piece for piece in pieces(text) if piece.strip())]
    return any(piece == name and before != "." for before, piece in pairwise(words))


def fields(text: str, names: Collection[str]) -> list[tuple[str, ...]]:
    """Return which fields of events with these names an expression looks at, each as the parts of its path, perhaps several times.

    Where it does anything else with a value than take a field of it by name, it looks at the whole of it.
    """
    words = [piece for piece in pieces(text) if piece.strip() and not piece.startswith("//")]
    found = []
    for place, word in enumerate(words):
        if word not in names or words[place - 1 : place] == ["."]:
            continue
        path, at = [word], place + 1
        while words[at : at + 1] == ["."] and words[at + 1].isidentifier() and words[at + 2 : at + 3] != ["("]:
            path.append(words[at + 1])
            at += 2
        found.append(tuple(path))
    return found


def _bare(text: str) -> str:
    """Return an expression without blanks and parentheses around it."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")"):
        depth = end = 0
        for piece in pieces(text):
            depth += (piece in _OPENING) - (piece in _CLOSING)
            end += len(piece)
            if depth == 0 and end < len(text):
                return text
        text = text[1:-1].strip()
    return text
