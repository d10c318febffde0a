"""The seam between the SDK and Kafka, for programs that send events and ask for results outside of a run.

Methods return `concurrent.futures.Future`, so that one implementation serves coroutines and plain scripts alike. They may be
called from any thread.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

import msgspec

from stream_engine.core.failure import Failure
from stream_engine.sdk.events import Message

ENDED = frozenset({"completed", "failed", "cancelled", "timed_out"})
"""The statuses of a run that has ended."""


class Outcome(msgspec.Struct, frozen=True):
    """What is known of a run. ``status`` is one of the contract's words; ``result`` is JSON, where the run is completed.

    ``detail`` says why somebody else ended it, where that is so.
    """

    status: str
    result: bytes | None = None
    error: Failure | None = None
    detail: str = ""


class Transport(Protocol):
    """What a client needs of Kafka."""

    def send(self, messages: Sequence[Message]) -> "Future[list[str]]":
        """Produce messages to the app's events topic; the future has their places, ``topic/partition/offset``, in order."""

    def run_outcome(self, run_id: str, timeout: float | None) -> "Future[Outcome]":
        """Return the outcome of a run once it has ended, or what is known of it after ``timeout`` seconds (None: no end).

        A run that nothing is known of (yet) is ``queued``.
        """

    def cancel(self, run_id: str, reason: str) -> "Future[None]":
        """Ask for a run to be cancelled; the future is done once Kafka has the request."""

    def partitions(self) -> "Future[int]":
        """Return how many partitions the app's internal topics have."""

    def close(self) -> None:
        """Send what is still buffered, and let go of everything."""


TransportFactory = Callable[[str, str], Transport]
"""Makes a transport for an app (its name) and the topic that its events are in."""

_factory: list[TransportFactory] = []


def set_transport_factory(factory: TransportFactory) -> None:
    """Have every engine that has no transport yet make its own by this."""
    _factory[:] = [factory]


def make_transport(app: str, events_topic: str) -> Transport:
    """Return a new transport for an app.

    Raises:
        RuntimeError: nothing says how.
    """
    if not _factory:
        raise RuntimeError(
            f"app {app!r} has nothing to send with: import stream_engine, or use stream_engine.testing in tests"
        )
    return _factory[0](app, events_topic)
