"""Dead letters: messages of which nothing could be made, as they lie in `<app>.dead-letters`.

Key and value are the original's. Headers say why and where from; the original's own headers follow, each with `ORIGINAL` before its
name, so that a letter can be sent again exactly as it was.
"""

import base64
from typing import Any, Final, NamedTuple

import msgspec

from stream_engine.core.instants import iso
from stream_engine.core.routing.receive import Headers, Message, Rejection

ORIGINAL: Final = "original."
_LEFT_OUT: Final = "left-out"


class Letter(msgspec.Struct, frozen=True):
    """A dead letter; ``id`` names it, ``at`` is when it was buried, in milliseconds since the epoch.

    ``topic``, ``partition`` and ``offset`` are the original's place. ``function`` is None where the whole message is of no use, and
    else the one function that could not be served. ``headers`` are the original's. ``left_out`` says that key, value and headers
    are not there, because they were too large for a letter.
    """

    id: str
    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    function: str | None
    key: bytes | None
    at: int
    value: bytes | None
    headers: Headers = ()
    left_out: bool = False


class Content(NamedTuple):
    """What is written of a letter."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


def content(message: Message, rejection: Rejection, function: str, room: int) -> Content:
    """Return what a message is buried as; of one that does not fit into so many bytes, only why, and where it lies."""
    headers = headers_of(message, rejection, function)
    size = sum(len(name) + len(value or b"") for name, value in headers)
    if size + len(message.key or b"") + len(message.value or b"") <= room:
        return Content(message.key, message.value, headers)
    return Content(None, None, [*(one for one in headers if not one[0].startswith(ORIGINAL)), (_LEFT_OUT, b"true")])


def headers_of(
    message: Message, rejection: Rejection, function: str | None = None
) -> list[tuple[str, str | bytes | None]]:
    """Return the headers with which a message is buried; ``function`` is the one that alone is not served, if it is only one."""
    return [
        ("reason", rejection.reason.encode()),
        ("detail", rejection.detail.encode()),
        ("topic", message.topic.encode()),
        ("partition", str(message.partition).encode()),
        ("offset", str(message.offset).encode()),
        *([("function", function.encode())] if function else []),
        *((ORIGINAL + name, value) for name, value in message.headers),
    ]


def letter_id(partition: int, offset: int) -> str:
    """Return the id of the letter at a place of the dead-letter topic."""
    return f"{partition}-{offset}"


def place_of(letter: str) -> tuple[int, int]:
    """Return the partition and offset of a letter's id.

    Raises:
        ValueError: it is not the id of a letter.
    """
    partition, _, offset = letter.partition("-")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise ValueError(f"not the id of a dead letter: {letter!r}; it looks like 0-17")
    return int(partition), int(offset)


def parse(place: tuple[int, int], at: int, key: bytes | None, value: bytes | None, headers: Headers) -> Letter:
    """Return the letter that lies at a place (partition and offset) of the dead-letter topic."""
    texts = {name: (raw or b"").decode(errors="replace") for name, raw in headers if not name.startswith(ORIGINAL)}
    own = [(name.removeprefix(ORIGINAL), raw) for name, raw in headers if name.startswith(ORIGINAL)]

    def number(name: str) -> int:
        text = texts.get(name, "")
        return int(text) if text.isdecimal() else -1

    return Letter(
        letter_id(*place),
        texts.get("topic", ""),
        number("partition"),
        number("offset"),
        texts.get("reason", ""),
        texts.get("detail", ""),
        texts.get("function"),
        key,
        at,
        value,
        own,
        _LEFT_OUT in texts,
    )


def document(letter: Letter, retried_at: int | None) -> dict[str, Any]:
    """Return a letter as listings with ``--json`` show it; ``retried_at`` is when it was last sent again, in milliseconds since the epoch."""
    return {
        "id": letter.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "detail": letter.detail,
        "function": letter.function,
        "key": shown(letter.key),
        "at": iso(letter.at),
        "retried_at": None if retried_at is None else iso(retried_at),
    }


def whole_document(letter: Letter, retried_at: int | None) -> dict[str, Any]:
    """Return a letter with all that the message was; what is no UTF-8 is shown in base64, and said so."""
    return document(letter, retried_at) | {
        "value": shown(letter.value),
        "headers": [{"name": name, "value": shown(value)} for name, value in letter.headers],
    }


def shown(raw: bytes | None) -> str | None:
    """Return bytes as text."""
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(raw).decode()}"
