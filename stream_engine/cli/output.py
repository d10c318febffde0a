"""What commands print: data on stdout, talk on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.text import Text


def print_json(value: Any) -> None:
    """Print one JSON document on stdout: dicts, lists, dataclasses, structs; a path becomes its text."""
    document = msgspec.json.encode(value, enc_hook=str)
    click.echo(msgspec.json.format(document, indent=2))


def say(text: str) -> None:
    """Tell the user something that is no data, on stderr."""
    click.echo(text, err=True)


def print_lines(lines: Iterable[Text], *, crop: bool = False) -> None:
    """Print lines on stdout, coloured on a terminal; cropped to its width, if they may be, but whole for other programs."""
    console = Console(highlight=False)
    for line in lines:
        line.rstrip()
        line.plain = line.plain.translate(_PICTURES)
        if crop and console.is_terminal:
            line.truncate(console.width, overflow="ellipsis")
        console.print(line, soft_wrap=True)


@contextmanager
def reading_history() -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal's stderr how far history has been read: give what is told how many records have been, and of how many."""
    with progress_of("reading history") as progress:
        yield progress


@contextmanager
def progress_of(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal's stderr how far something is: give what is told how much is done, and of how much."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


# Texts come from events and exceptions; one of them must not colour, move or end the operator's terminal.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_PICTURES |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
