"""The secret of an app, by which the tokens of its callbacks are known to be genuine: 32 random bytes in its control topic.

The worker that finds none makes one, and writes it under a key of its own; the first one on the log is the app's. So it stays the same
one where two workers start at once, because both read on to beyond what they wrote, and after compaction, which keeps the only record of
each key, in their order. Who can read the control topic can make tokens: the rights to it are what protects them.
"""

import secrets
from collections.abc import Callable
from typing import Final

import msgspec
from confluent_kafka import Producer

from stream_engine.shell.control import Control, write

_KEY: Final = "secret/"
_BYTES: Final = 32


Values = Callable[[str], dict[str, bytes]]
"""Returns the values of the control topic's keys that begin with a prefix."""


class _Secret(msgspec.Struct, frozen=True):
    key: bytes


def secret_of(values: Values) -> bytes | None:
    """Return the secret of an app whose control topic has been read, or None if it has none yet."""
    # In the order in which the keys were first read, which is that of the log.
    raw = next(iter(values(_KEY).values()), None)
    return None if raw is None else msgspec.json.decode(raw, type=_Secret).key


def make_secret(producer: Producer, topic: str, control: Control) -> None:
    """Have an app have a secret, if it has none; then read the control topic on, and take `secret_of`.

    Raises:
        ControlError: Kafka did not take it.
    """
    if secret_of(control.values) is None:
        value = msgspec.json.encode(_Secret(secrets.token_bytes(_BYTES)))
        write(producer, topic, {_KEY + secrets.token_hex(8): value})
