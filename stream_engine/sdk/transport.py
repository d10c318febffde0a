"""The seam between the SDK and Kafka, for programs that send events and ask for results outside of a run.

Methods return `concurrent.futures.Future`, so that one implementation serves coroutines and plain scripts alike. They may be
called from any thread.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, Self

import msgspec

from stream_engine.core.failure import Failure
from stream_engine.core.views.answers import Answer, Answers
from stream_engine.core.views.runs import FoldedRun
from stream_engine.sdk.errors import SharedRunError
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

    @classmethod
    def of(cls, told: Answer | FoldedRun | None) -> Self:
        """Return what history has told: for good, or of a run that goes on; nothing yet is ``queued``."""
        if told is None:
            return cls("queued")
        end = told.end if isinstance(told, Answer) else told
        if end is None:
            return cls(told.status, detail=told.detail)
        return cls(told.status, None if end.result is None else end.result.encode(), end.error, told.detail)


def settle_cancel(answers: Answers, run_id: str, request: "Future[None]") -> bool:
    """Settle a request to cancel a run where nothing is to be asked for, by what is known of it; return whether it is settled.

    Its event is in no run any more, and what bears its name is not to be cancelled; or another event's run has it, which is a `SharedRunError`.
    """
    known, holder = answers.get(run_id), answers.holder(run_id)
    if holder is None:
        request.set_result(None)
    elif known is not None and holder != run_id:
        request.set_exception(SharedRunError(run_id, holder, known.detail))
    return request.done()


class Transport(Protocol):
    """What a client needs of Kafka."""

    def send(self, messages: Sequence[Message]) -> "Future[list[str]]":
        """Produce messages to the app's events topic; the future has their places, ``topic/partition/offset``, in order."""

    def run_outcome(self, run_id: str, timeout: float | None) -> "Future[Outcome]":
        """Return the outcome of a run once it has ended, or what is known of it after ``timeout`` seconds (None: no end).

        A run that nothing is known of (yet) is ``queued``.
        """

    def cancel(self, run_id: str, reason: str) -> "Future[None]":
        """Ask for a run to be cancelled; the future is done once Kafka has the request, or has a `SharedRunError`.

        See `settle_cancel` for when nothing is asked.
        """

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
