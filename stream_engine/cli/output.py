"""What commands print: data on stdout, talk on stderr."""

from __future__ import annotations

from typing import Any

import click
import msgspec


def print_json(value: Any) -> None:
    """Print one JSON document on stdout: dicts, lists, dataclasses, structs; a path becomes its text."""
    document = msgspec.json.encode(value, enc_hook=str)
    click.echo(msgspec.json.format(document, indent=2))


def say(text: str) -> None:
    """Tell the user something that is no data, on stderr."""
    click.echo(text, err=True)
