"""Types of option values; one that does not parse is a usage error (exit 2)."""

from typing import Any

import click
import msgspec

from stream_engine.core.duration import FORMS, milliseconds
from stream_engine.core.identity import partition_of

_LAST_PORT = 65_535


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


class _AnyJson(click.ParamType):
    """Any JSON text, as its bytes."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return the text's bytes."""
        raw = value if isinstance(value, bytes) else str(value).encode()
        try:
            msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.fail(f"not JSON: {error}; a text is in double quotes, as in '\"yes\"'", param, ctx)
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


class _Address(click.ParamType):
    """``[HOST:]PORT`` to listen on, as host and port; without a host it is loopback."""

    name = "[host:]port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return host and port."""
        text = str(value)
        host, _, port = text.rpartition(":")
        if not port.isdecimal() or int(port) > _LAST_PORT:
            self.fail(
                f"{text!r} is not [HOST:]PORT; write 8080, or 0.0.0.0:8080 to be reached from elsewhere", param, ctx
            )
        return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


ADDRESS = _Address()
ANY_JSON = _AnyJson()
DURATION = _Duration()
JSON = _Json()
RUN_ID = _RunId()
