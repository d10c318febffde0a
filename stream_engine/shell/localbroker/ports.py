"""Free ports on the loopback interface."""

from __future__ import annotations

import socket
from typing import Final

from stream_engine.shell.errors import UserError

LOOPBACK: Final = "127.0.0.1"
PREFERRED_PORT: Final = 9092


def pick_port(wanted: int | None, remembered: int | None) -> int:
    """A port for the broker to listen on.

    Args:
        wanted: the user's choice; 0 stands for any free one, None for no choice: Kafka's usual port if it is free.
        remembered: the port of last time, which is taken again if it is free and nothing else is wanted.

    Raises:
        UserError: the wanted port is taken.
    """
    if wanted:
        if not is_free(wanted):
            raise UserError(f"port {wanted} on {LOOPBACK} is taken; choose another, or leave the choice to the broker")
        return wanted
    preferences = (remembered, PREFERRED_PORT if wanted is None else None)
    for port in preferences:
        if port is not None and is_free(port):
            return port
    return any_free_port()


def any_free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether nobody listens on this port."""
    with socket.socket() as probe:
        # As the broker does it: connections that linger from the last one are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
