"""Which run sent a message, on account of which event: what a replay must know of it.

Whatever a step sends carries this in a header. A replay of the event that the run was about runs it anew, and that run sends the
message anew, under the replay's id; so a replay passes over the message that is on the log already.
"""

from typing import Annotated

import msgspec

from stream_engine.core.records.wanted import Sender
from stream_engine.core.routing.envelope import Headers

CAUSE_HEADER = "stream-engine-cause"


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """The function of the run that sent a message, the place of the run's event, and the replay that it was a run of, at which moment."""

    function: str
    topic: str
    partition: int
    offset: int
    replay: str | None = None
    moment: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0

    @property
    def sender(self) -> Sender:
        """What those who wait for the message's event are told of that run."""
        return Sender(self.function, self.topic, self.partition, self.offset, self.replay)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Cause).decode


def cause_header(cause: Cause) -> tuple[str, bytes]:
    """Return the header that says it."""
    return CAUSE_HEADER, _encode(cause)


def cause_of(headers: Headers) -> Cause | None:
    """Return what the headers of a message say; None if no run sent it. What is not readable says nothing: anybody may write headers."""
    for name, value in headers:
        if name == CAUSE_HEADER and value:
            try:
                return _decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
    return None


def sender_of(headers: Headers) -> Sender | None:
    """Return what those who wait for an event are told of the run that sent it."""
    cause = cause_of(headers)
    return None if cause is None else cause.sender
