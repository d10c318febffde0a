"""Conditions as users write them."""

from typing import Any, Final

import click

from stream_engine.core.expressions.expression import Expression, ExpressionError, compile_expression

_CONDITIONS: Final = {"bool", "dyn"}


class _Condition(click.ParamType):
    """An expression over ``event``."""

    name = "expr"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Expression:
        """Return the compiled expression."""
        if isinstance(value, Expression):
            return value
        try:
            compiled = compile_expression(str(value))
        except ExpressionError as error:
            self.fail(str(error), param, ctx)
        if compiled.returns not in _CONDITIONS:
            self.fail(
                f"{str(value)!r}: it gives a value of type {compiled.returns}, and a condition is true or false; write for example event.data.total > 100",
                param,
                ctx,
            )
        return compiled


CONDITION: Final = _Condition()
