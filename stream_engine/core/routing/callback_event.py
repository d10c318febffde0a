"""Events that complete callbacks: ``engine/callback.completed``, whose data is ``{"token": ..., "data": ...}``.

Anybody who may produce to an app's events topic can complete a callback whose token they have. Such an event starts no run and wakes nothing
but the step that its token names. It is a command to the partition of that run, which decides whether it comes in time; what is wrong with it by
itself is known here. In a replay it is passed over: it was for a run of its own time.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from stream_engine.core.functions.catalogue import RESERVED
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import CompleteCallback, Letter
from stream_engine.core.routing.callback_token import is_genuine, read
from stream_engine.core.routing.dead_letter import headers_of
from stream_engine.core.routing.receive import Message, Rejection

COMPLETED_EVENT = RESERVED + "callback.completed"
INVALID = "callback-invalid"
FORGED = "callback-forged"
ANOTHER_APP = "another-app"
UNREADABLE = "this is no token of a callback: it is forged, or not all of it is there"

Completion = Callable[[Message, Event], CompleteCallback | Rejection | None]
"""Returns what an event of this name amounts to: None where it is about another app, which reads the same topic."""


class _Data(msgspec.Struct, frozen=True):
    token: str
    data: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Data).decode


def completions(app: str, secret: bytes, dead_letters: str) -> Completion:
    """Return what judges events for an app, with the secret that its tokens are made with, and the topic of its dead letters."""
    return partial(_judge, app, secret, dead_letters)


def _judge(
    app: str, secret: bytes, dead_letters: str, message: Message, event: Event
) -> CompleteCallback | Rejection | None:
    try:
        found = _decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Rejection(INVALID, f'the data is to be {{"token": TEXT, "data": ANYTHING}}: {error}')
    named = read(found.token)
    if named is not None and named.app != app:
        return None
    if named is None:
        return Rejection(FORGED, UNREADABLE)
    if not is_genuine(secret, found.token):
        return Rejection(FORGED, f"the token is none that app {app} has given out")
    headers = [(name, _bytes(value)) for name, value in headers_of(message, Rejection("", ""))]
    why = {"reason", "detail"}
    letter = Letter(
        dead_letters, message.key, message.value, tuple(header for header in headers if header[0] not in why)
    )
    return CompleteCallback(named.run_id, named.step_id, bytes(found.data), event.id, "event", letter, event.timestamp)


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
