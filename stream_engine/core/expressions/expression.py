"""Expressions: CEL over an event, for conditions, keys and priorities.

Theory of operation. An expression is compiled once, when a function is declared or a catalogue read; that finds errors of syntax, unknown
names and functions, and operands that can never fit. It is evaluated in a `Scope`, whose events are decoded at most once. A plain dotted
path (``event.data.order_id``) is looked up directly, with the same outcome as long as there is no NUL (see below).

Cost. Text has at most `LONGEST` characters, and its nesting is bounded by the library (32 levels). Of the macros, ``exists``, ``all`` and
``exists_one`` may be used, not one within another, and their bodies see nothing but their own variable; ``map`` and ``filter``, whose cost is
the square of their input, may not. One evaluation goes through `STEPS` elements at most. A pattern is fixed, small when compiled, and stands
outside of macros (`stream_engine.core.expressions.permitted`). So the cost is linear in the size of the event.

The library ends a text at a NUL. Rather than compare or tell apart halves of texts, an expression that looks at such a text fails; where it stands
elsewhere in the event, the library is given no more of that than the fields that the expression names.

Errors. A field that is *absent* (it is not there, or what it would be in is no object) makes a condition false, and is an error everywhere
else. Everything else that goes wrong is an error: the caller makes a dead letter of it, and never a key that events share by accident.
"""

import hashlib
import re
from collections.abc import Callable
from functools import cache
from math import isfinite
from typing import Any

import msgspec
from cel_expr_python import cel

from stream_engine.core.expressions.conjuncts import fields
from stream_engine.core.expressions.explained import explained, without_code
from stream_engine.core.expressions.permitted import problem
from stream_engine.core.expressions.scope import Scope, ScopeError, within_bounds

LONGEST = 1_000
"""How many characters the text of an expression may have."""

STEPS = 10_000
"""How many elements one evaluation may go through; the library's own bound."""

ASYNC = frozenset({"event", "async_event"})
"""The names of events in conditions of waits: what the run is about, and what it waits for."""

_ASYNC_ALONE = frozenset({"async_event"})
_LONGEST_TEXT = 200
_LONGEST_VALUE = 1_000
_EXACT = 2**53
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
_ABSENT = ("NOT_FOUND: ", "INVALID_ARGUMENT: Applying SELECT to non-message type", "UNKNOWN: Index error")
_MISSING: Any = object()
_View = Callable[[str], dict[str, Any]]


class ExpressionError(ValueError):
    """A text is no expression that could work; the message says why, and where in it."""


class EvaluationError(Exception):
    """An expression has no value for an event; the message says why."""


class AbsentError(EvaluationError):
    """It has none because a field is not there."""


class Expression:
    """A compiled expression.

    Attributes:
        text: what it was compiled from.
        returns: the type of its values as far as that is known: ``dyn``, ``bool``, ``int``, ``double``, ``string``, ``list<int>``, ...
    """

    __slots__ = ("_fields", "_names", "_path", "_program", "returns", "text")

    def __init__(self, text: str, program: cel.Expression, names: frozenset[str]) -> None:
        self.text = text
        self.returns = program.return_type().name().lower()
        self._program = program
        self._names = names
        self._fields = fields(text, names)
        plain = text.strip()
        self._path = tuple(plain.split(".")) if _PATH.fullmatch(plain) else ()

    def value(self, scope: Scope) -> Any:
        """Return its value, as JSON's types where there are such.

        Raises:
            EvaluationError: it has none; `AbsentError` if that is because a field is absent.
        """
        try:
            return self._look_up(scope) if self._path else self._evaluate(scope)
        except ScopeError as error:
            raise EvaluationError(str(error)) from None

    def condition(self, scope: Scope) -> bool:
        """Return whether it holds; it does not if a field is absent.

        Raises:
            EvaluationError: it fails, or its value is neither true nor false.
        """
        try:
            value = self.value(scope)
        except AbsentError:
            return False
        if not isinstance(value, bool):
            raise EvaluationError(f"{self.text}: a condition is true or false, and this is {_shown(value)}")
        return value

    def key(self, scope: Scope) -> tuple[str, str]:
        """Return its value as a key, and as text for readers.

        Two keys are the same if and only if the values are, as JSON: ``1`` and ``1.0`` are, ``1`` and ``"1"`` are not.

        Raises:
            EvaluationError: it fails, or its value is none of text, number, true, false, and lists of these.
        """
        value = self.value(scope)
        canonical = canonical_key(value, self.text)
        text = value if isinstance(value, str) and value and value.isprintable() else canonical
        return canonical, text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"

    def number(self, scope: Scope) -> float:
        """Return its value, a number.

        Raises:
            EvaluationError: it fails, or its value is no finite number.
        """
        value = self.value(scope)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise EvaluationError(f"{self.text}: it must give a number, and this is {_shown(value)}")
        return value

    def _look_up(self, scope: Scope) -> Any:
        value: Any = scope.view(self._path[0])
        for field in self._path[1:]:
            value = value.get(field, _MISSING) if isinstance(value, dict) else _MISSING
            if value is _MISSING:
                raise AbsentError(f"{self.text}: there is no field {field!r} in this event")
        return within_bounds(value)

    def _evaluate(self, scope: Scope) -> Any:
        view, view_within_bounds = self._views(scope)
        try:
            result = self._program.eval(data={name: view(name) for name in self._names})
            if result.type() == cel.Type.ERROR and "out of range for" in str(result.value()):
                result = self._program.eval(data={name: view_within_bounds(name) for name in self._names})
        except RuntimeError as error:
            if "Iteration budget exceeded" in str(error):
                raise EvaluationError(
                    f"{self.text}: it goes through more than {STEPS} elements of this event"
                ) from None
            raise EvaluationError(f"{self.text}: {without_code(str(error))}") from None
        if result.type() == cel.Type.ERROR:
            reason = str(result.value())
            kind = AbsentError if reason.startswith(_ABSENT) else EvaluationError
            raise kind(f"{self.text}: {without_code(reason)}")
        return result.plain_value()

    def _views(self, scope: Scope) -> tuple[_View, _View]:
        """Return what gives the library its view of an event, and one within bounds."""
        if not scope.has_nul(self._names):
            return scope.view, scope.view_within_bounds
        part = scope.part(self._fields)
        if part is None:
            raise EvaluationError(f"{self.text}: it looks at a text with a NUL character")
        return (lambda name: part.get(name, {})), (lambda name: within_bounds(part.get(name, {})))


def canonical_key(value: Any, what: str) -> str:
    """Return a value as `Expression.key` writes it; ``what`` names it in the error.

    Raises:
        EvaluationError: it is none of text, number, true, false, and lists of these.
    """
    if isinstance(value, list):
        return f"[{','.join(_canonical(item, what) for item in value)}]"
    return _canonical(value, what)


def _canonical(value: Any, what: str) -> str:
    if isinstance(value, str | bool):
        return msgspec.json.encode(value).decode()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and isfinite(value):
        if abs(value) < _EXACT:
            return str(int(value)) if value.is_integer() else repr(value)
        raise EvaluationError(f"{what}: a number as large as {_shown(value)} is no key; send it as text")
    raise EvaluationError(
        f"{what}: a key is text, a number, true or false, or a list of these, and this is {_shown(value)}"
    )


@cache
def compile_expression(text: str, names: frozenset[str] = frozenset({"event"})) -> Expression:
    """Return the expression of a text over events with these names.

    Raises:
        ExpressionError: it cannot work; the message says why, and where in the text.
    """
    if not text.strip():
        raise ExpressionError(f"{text!r}: it is empty; write for example event.data.id")
    if len(text) > LONGEST:
        raise ExpressionError(f"{text[:40]!r}...: it has {len(text)} characters; at most {LONGEST} are allowed")
    wrong = problem(text, names)
    if wrong is not None:
        raise ExpressionError(f"{text!r}: {wrong}")
    try:
        program = _environment(names).compile(text)
    except RuntimeError as error:
        raise ExpressionError(f"{text!r}: {explained(text, str(error), names)}") from None
    return Expression(text, program, names)


def over(*, needs_event: bool) -> frozenset[str]:
    """Return the names of events in a condition of a wait, by whether that is about the waiting run's event, too."""
    return ASYNC if needs_event else _ASYNC_ALONE


def value_at(path: str, scope: Scope) -> str | None:
    """Return what the value of a field of the event that a scope is about is compared by, or None if it has none that can be compared."""
    try:
        return compared(compile_expression(f"event.{path}").key(scope)[0])
    except (EvaluationError, ExpressionError):
        return None


def compared(key: str) -> str:
    """Return what stands for a value, written as `Expression.key` does, where values are compared and kept: a long one's beginning and hash.

    An event may have half a megabyte in a field, and what waits for it is written down several times. No short value looks like a long one's: its quotes are closed.
    """
    if len(key) <= _LONGEST_VALUE:
        return key
    return f"{key[:_LONGEST_TEXT]}…{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"


@cache
def _environment(names: frozenset[str]) -> cel.Env:
    return cel.NewEnv(variables=dict.fromkeys(sorted(names), cel.Type.Map(cel.Type.STRING, cel.Type.DYN)))


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    try:
        text = repr(value)
    except RecursionError:
        text = "that is nested deep"
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:59] + '…'}"
