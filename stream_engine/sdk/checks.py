"""What options of functions are checked by: numbers, words, durations and expressions, each with an error that says what is allowed."""

from collections.abc import Collection, Iterable
from typing import Any

from stream_engine.core.duration import milliseconds
from stream_engine.core.expressions.expression import Expression, ExpressionError, compile_expression
from stream_engine.sdk.errors import DeclarationError

KEYS = ("dyn", "string", "int", "uint", "double", "bool")
CONDITIONS = ("dyn", "bool")
NUMBERS = ("dyn", "int", "uint", "double")

LONGEST_MS = 366 * 86_400_000


def whole(where: str, option: str, value: object, lowest: int, highest: int) -> int:
    """Return a whole number within bounds.

    Raises:
        DeclarationError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise DeclarationError.of(where, option, value, f"give a whole number from {lowest} to {highest}")
    return value


def word(where: str, option: str, value: object, allowed: Iterable[str]) -> Any:
    """Return one of the allowed words.

    Raises:
        DeclarationError: it is none of them.
    """
    if not isinstance(value, str) or value not in allowed:
        raise DeclarationError.of(where, option, value, f"give one of {', '.join(map(repr, allowed))}")
    return value


def duration(where: str, option: str, value: Any, lowest: int = 1) -> int:
    """Return a duration in milliseconds, at least ``lowest`` of them.

    Raises:
        DeclarationError: it is none, or shorter, or longer than 366 days.
    """
    try:
        found = milliseconds(value)
    except ValueError as error:
        raise DeclarationError(f"{where}: {option}: {error}") from None
    if not lowest <= found <= LONGEST_MS:
        raise DeclarationError.of(where, option, value, f"give a duration from {lowest} ms to 366 days")
    return found


def key(where: str, value: object) -> str | None:
    """Return the expression of a key, or None if there is none.

    Raises:
        DeclarationError: it can never give a key.
    """
    return None if value is None else expression(where, "key", value, KEYS).text


def expression(where: str, option: str, value: object, returns: Collection[str]) -> Expression:
    """Return an expression over ``event`` that may give a value of one of these types.

    Raises:
        DeclarationError: it is none, or can never give one.
    """
    if not isinstance(value, str):
        raise DeclarationError.of(where, option, value, "give an expression as text, such as 'event.data.id'")
    try:
        compiled = compile_expression(value)
    except ExpressionError as error:
        raise DeclarationError(f"{where}: {option}={error}") from None
    if value.strip() == "event.data":
        raise DeclarationError.of(
            where,
            option,
            value,
            "it is an object, with all that the event tells; name one of its fields, such as event.data.id",
        )
    given = compiled.returns
    kind = given[5:-1] if returns is KEYS and given.startswith("list<") else given
    if kind not in returns:
        what = {KEYS: "text, a number, true or false, or a list of these", CONDITIONS: "true or false"}
        allowed = what.get(tuple(returns), "a number")
        raise DeclarationError.of(where, option, value, f"it gives a value of type {given}; it must give {allowed}")
    return compiled


def option(where: str, name: str, value: object, kind: type, example: str) -> None:
    """Look at whether an option's value is an instance of its class.

    Raises:
        DeclarationError: it is not.
    """
    if not isinstance(value, kind):
        raise DeclarationError.of(where, name, value, f"give {example}")
