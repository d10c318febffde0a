"""Conditions as users write them."""

from typing import Any, Final

import click

from stream_engine.core.expressions.expression import Expression, ExpressionError, compile_expression


class _Condition(click.ParamType):
    """An expression over ``event``."""

    name = "expr"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Expression:
        """Return the compiled expression."""
        if isinstance(value, Expression):
            return value
        try:
            return compile_expression(str(value))
        except ExpressionError as error:
            self.fail(str(error), param, ctx)


CONDITION: Final = _Condition()
