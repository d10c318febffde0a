"""Types of option values; one that does not parse is a usage error (exit 2)."""

from typing import Any

import click
import msgspec

from stream_engine.core.duration import FORMS, milliseconds
from stream_engine.core.identity import partition_of


class _Duration(click.ParamType):
    """A duration, as milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds."""
        text = str(value)
        try:
            return milliseconds(float(text) if text.replace(".", "", 1).isdecimal() else text)
        except ValueError:
            self.fail(f"{text!r} is not a duration; write {FORMS}", param, ctx)


class _Json(click.ParamType):
    """JSON text that is an object, as its bytes."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return the text's bytes."""
        raw = value if isinstance(value, bytes) else str(value).encode()
        try:
            msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.fail(f"not a JSON object: {error}", param, ctx)
        return raw


class _RunId(click.ParamType):
    """A run's id, as text."""

    name = "run id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id."""
        text = str(value)
        try:
            partition_of(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return text


DURATION = _Duration()
JSON = _Json()
RUN_ID = _RunId()
