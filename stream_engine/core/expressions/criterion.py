"""How users say which event they mean, for waits and cancels: the same field in both events, or a condition that has such an equality in it.

Waits come together with events by the value of one field, so one equality has to stand at the top of a condition, joined to the rest by ``&&``.
"""

import re
from typing import NamedTuple

from stream_engine.core.expressions.conjuncts import conjuncts, mentions
from stream_engine.core.expressions.expression import ASYNC, LONGEST, ExpressionError, compile_expression, over

_FIELD = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
_PATH = re.compile(rf"(?:name|id|ts|data)(?:\.{_FIELD})?")
_EQUALITY = re.compile(rf"(event|async_event)\.({_FIELD})\s*==\s*(event|async_event)\.({_FIELD})")


class Criterion(NamedTuple):
    """Which event is meant: the field at ``own`` of the one at hand has the value of the field at ``path`` of the other; and ``if_`` holds.

    All may be empty; ``needs_event`` says whether ``if_`` is about the event at hand, too.
    """

    own: str = ""
    path: str = ""
    if_: str = ""
    needs_event: bool = False


def check_path(path: object) -> str:
    """Return the path of a field.

    Raises:
        ExpressionError: it is none.
    """
    if isinstance(path, str) and _PATH.fullmatch(path):
        compile_expression(f"event.{path}")
        return path
    hint = ""
    if isinstance(path, str) and path.startswith(("event.", "async_event.")):
        hint = f"; leave out {path.partition('.')[0]!r}"
    raise ExpressionError(f"{path!r}: give the path of a field, such as 'data.order_id'{hint}")


def criterion(path: object, if_: object, *, is_compared: bool = False) -> Criterion:
    """Return what a path, that is the same in both events, and a condition mean together, if they are given.

    With ``is_compared`` it is known otherwise by which field the event is found.

    Raises:
        ExpressionError: they cannot work; the message says why.
    """
    same = "" if path is None else check_path(path)
    if if_ is None:
        return Criterion(same, same)
    if not isinstance(if_, str):
        raise ExpressionError(f"{if_!r}: give a condition as text, such as 'async_event.data.ok == true'")
    returns = compile_expression(if_, ASYNC).returns
    if returns not in ("dyn", "bool"):
        raise ExpressionError(f"{if_!r}: a condition is true or false, and this gives a value of type {returns}")
    if same or is_compared:
        return _checked(Criterion(same, same, if_, mentions(if_, "event")))
    parts = conjuncts(if_)
    for number, part in enumerate(parts):
        found = _EQUALITY.fullmatch(part)
        if found is not None and found[1] != found[3]:
            others = parts[:number] + parts[number + 1 :]
            rest = " && ".join(others)
            rest = rest if len(rest) <= LONGEST else "&&".join(others)
            own, other = (found[2], found[4]) if found[1] == "event" else (found[4], found[2])
            return _checked(Criterion(own, other, rest, mentions(rest, "event")))
    raise ExpressionError(
        f"{if_!r}: events are found by a field that is equal in both, so the condition needs such an equality, as in "
        "'event.data.id == async_event.data.id && ...'; or give match='data.id' beside it"
    )


def _checked(found: Criterion) -> Criterion:
    """Return it, after its condition was compiled as it will be where events are compared: there, nobody could be told."""
    if found.if_:
        compile_expression(found.if_, over(needs_event=found.needs_event))
    return found
