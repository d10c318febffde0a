"""Records of the internal topics, as they are read: what a newer engine wrote is told from what no engine did."""

from typing import TypeVar

import msgspec

from stream_engine.core.records.chunks import StateRecord
from stream_engine.core.records.journal import READS, JournalRecord
from stream_engine.core.records.requests import Commands

T = TypeVar("T", "JournalRecord", "Commands", "StateRecord")

_journal_decoder: msgspec.msgpack.Decoder[JournalRecord] = msgspec.msgpack.Decoder(JournalRecord)
_commands_decoder = msgspec.msgpack.Decoder(Commands)
_state_decoder: msgspec.msgpack.Decoder[StateRecord] = msgspec.msgpack.Decoder(StateRecord)


class ForeignError(Exception):
    """Bytes that no engine wrote: somebody else wrote to the topic. They say nothing, and are passed over."""


class UnreadableError(Exception):
    """What a newer engine wrote: to pass over what is new in it would be wrong, so an older worker has to stop here."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: a newer engine serves the app, or has served it; what it wrote is safe, and only that engine, or one that is newer "
            "still, can go on from there"
        )


def check_format(format: int) -> None:  # noqa: A002 - the field's name
    """Look at what something that was written says of its format.

    Raises:
        UnreadableError: this engine does not know the format.
    """
    if format > READS:
        raise UnreadableError(f"it has format {format}, and this engine reads formats up to {READS}")


def decode_journal(raw: bytes) -> JournalRecord:
    """Return a record of the journal.

    Raises:
        ForeignError: the bytes are of no engine.
        UnreadableError: they are of a newer one.
    """
    return _decode(_journal_decoder, raw)


def decode_commands(raw: bytes) -> Commands:
    """Return a record of the commands topic.

    Raises:
        ForeignError: the bytes are of no engine.
        UnreadableError: they are of a newer one.
    """
    return _decode(_commands_decoder, raw)


def decode_state(raw: bytes) -> StateRecord:
    """Return a record of the state topic.

    Raises:
        ForeignError: the bytes are of no engine.
        UnreadableError: they are of a newer one.
    """
    return _decode(_state_decoder, raw)


def _decode(decoder: msgspec.msgpack.Decoder[T], raw: bytes) -> T:
    try:
        record = decoder.decode(raw)
    except _UNDECODABLE as error:
        if _is_ours(raw):
            raise UnreadableError(
                f"this engine, which reads formats up to {READS}, cannot read it ({error})"
            ) from error
        raise ForeignError(f"no engine wrote these {len(raw)} bytes: {error}") from error
    check_format(record.format)
    return record


def _is_ours(raw: bytes) -> bool:
    """Return whether bytes begin as all records do in every version: an array that begins with a text."""
    try:
        value = msgspec.msgpack.decode(raw)
    except _UNDECODABLE:
        return False
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
