"""Completing callbacks by HTTP: ``POST /callbacks/TOKEN`` at a worker's endpoint, with the data as its body."""

from functools import partial
from typing import Final

import msgspec

from stream_engine.core.routing.callback_event import ANOTHER_APP, FORGED
from stream_engine.shell.endpoint import Answer, Request, Route
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating.completing import TOO_LARGE, Completing, UnconfirmedError

_SECONDS: Final = 10.0
_STATUSES: Final = {
    FORGED: 403,
    ANOTHER_APP: 421,
    TOO_LARGE: 413,
    "already-completed": 409,
    "not-a-callback": 409,
    "timed-out": 410,
    "run-ended": 410,
}


def routes(completing: Completing) -> list[Route]:
    """Return the route by which callbacks are completed."""
    return [Route("POST", "/callbacks/{token}", partial(_complete, completing))]


def _complete(completing: Completing, request: Request) -> Answer:
    data = request.body or b"null"
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _refused(400, "invalid", f"the body is not JSON: {error}")
    try:
        outcome = completing.complete(request.parts["token"], data, "http", _SECONDS)
    except UnconfirmedError as error:
        return _refused(504, "unconfirmed", str(error))
    except UserError as error:
        return _refused(503, "unavailable", str(error))
    if not outcome.completed:
        return _refused(_STATUSES.get(outcome.disposition, 409), outcome.disposition, outcome.detail)
    assert outcome.named is not None
    document = {"run_id": outcome.named.run_id, "step_id": outcome.named.step_id, "disposition": "completed"}
    return Answer(200, document)


def _refused(status: int, reason: str, detail: str) -> Answer:
    return Answer(status, {"reason": reason, "error": detail})
