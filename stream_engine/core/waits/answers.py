"""Events as the results of the steps that waited for them."""

import msgspec

from stream_engine.core.records.journal import Event
from stream_engine.core.records.tables import Step

NOTHING = b"null"
"""The result of a step that waited in vain."""


class Answer(msgspec.Struct, frozen=True):
    """The result of a step that waited for an event, as JSON; its ``identity`` tells whether a run has had it."""

    name: str
    data: msgspec.Raw
    id: str
    ts: int
    key: str | None
    topic: str
    partition: int
    offset: int
    identity: str


class _Identified(msgspec.Struct):
    identity: str = ""


def result_of(event: Event) -> bytes:
    """Return an event as the result of a step."""
    key = None if event.key is None else event.key.decode(errors="backslashreplace")
    where = event.topic, event.partition, event.offset
    return msgspec.json.encode(
        Answer(event.name, msgspec.Raw(event.data), event.id, event.ts, key, *where, event.identity)
    )


def taken_by(step: Step) -> str:
    """Return the identity of the event that a step has got, or an empty text."""
    if step.kind != "wait" or step.result is None or step.result == NOTHING:
        return ""
    return _decode(step.result).identity


_decode = msgspec.json.Decoder(_Identified).decode
