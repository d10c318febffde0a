"""The token of a callback: what whoever is to complete it is handed.

It names the app, the run and the step, and has an HMAC of these by a secret of the app. So every execution of the run derives the same token
without anything having been written, and nobody makes one who does not have the secret. It consists of letters, digits, ``-``, ``_`` and
``.``, and does not begin with ``-``: it can stand in a path of a URL and on a command line as it is.
"""

import base64
import binascii
import hmac
from typing import NamedTuple

from stream_engine.core.identity import partition_of

LONGEST = 2_048
"""How many characters a token has at most: names may be long, and not all characters of a step's id are ASCII."""

_FORM = "cb1"
_SIGNED = b"stream-engine callback\0"
_MAC_BYTES = 16


class Named(NamedTuple):
    """What a token names: the step of a run of an app."""

    app: str
    run_id: str
    step_id: str


def token_of(secret: bytes, named: Named) -> str:
    """Return the token of a callback; ``secret`` is the app's.

    Raises:
        ValueError: there is no secret, so that anybody could make a token.
    """
    if not secret:
        raise ValueError("an app needs a secret for the tokens of its callbacks")
    payload = "\0".join(named).encode()
    mac = hmac.digest(secret, _SIGNED + payload, "sha256")[:_MAC_BYTES]
    return f"{_FORM}.{_text(payload)}.{_text(mac)}"


def read(token: str) -> Named | None:
    """Return what a token names, whether it is genuine or not; None where it has not the form of one."""
    form, _, rest = token.partition(".")
    raw, _, mac = rest.partition(".")
    if form != _FORM or not mac or len(token) > LONGEST:
        return None
    try:
        named = Named(*base64.b64decode(raw + "=" * (-len(raw) % 4), b"-_", validate=True).decode().split("\0"))
        partition_of(named.run_id)
    except (binascii.Error, TypeError, UnicodeDecodeError, ValueError):
        return None
    return named


def is_genuine(secret: bytes, token: str) -> bool:
    """Return whether a token was made with a secret; how long that takes says nothing about the secret."""
    named = read(token)
    return named is not None and hmac.compare_digest(token_of(secret, named).encode(), token.encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
