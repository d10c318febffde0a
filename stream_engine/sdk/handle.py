"""What a program holds of a run that it started."""

import asyncio
import socket
from typing import Generic, TypeVar

from stream_engine.core.duration import Duration, milliseconds
from stream_engine.core.failure import Failure
from stream_engine.sdk.codec import DECODE_ERRORS, Decode, decode_plain
from stream_engine.sdk.errors import ResultError, RunCancelled, RunFailed
from stream_engine.sdk.transport import ENDED, Outcome, Transport

R = TypeVar("R")


class _Handle(Generic[R]):
    __slots__ = ("_decode", "_transport", "run_id")

    def __init__(self, run_id: str, transport: Transport, decode: Decode) -> None:
        self.run_id = run_id
        self._transport = transport
        self._decode = decode

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.run_id!r})"

    def _read(self, outcome: Outcome, timeout: Duration | None) -> R:
        if outcome.status == "completed":
            return self._decoded(outcome.result or b"null")
        if outcome.status == "cancelled":
            raise RunCancelled(self.run_id, outcome.detail)
        if outcome.status in ENDED:
            raise RunFailed(self.run_id, outcome.error or Failure("TimeoutError", "the run took too long"))
        raise TimeoutError(f"run {self.run_id} has not ended{_within(timeout)}: it is {outcome.status}, and goes on")

    def _decoded(self, raw: bytes) -> R:
        # None is None, whatever the annotation says, as for steps.
        decode = decode_plain if raw == b"null" else self._decode
        try:
            result: R = decode(raw)
        except DECODE_ERRORS as error:
            message = f"the result of run {self.run_id} is not what its function's annotation says: {error}"
            raise ResultError(message) from error
        return result


class RunHandle(_Handle[R]):
    """A run that was started; `SyncRunHandle` is the same for programs without an event loop."""

    __slots__ = ()

    async def status(self) -> str:
        """Return the run's status: ``queued``, ``running``, ``sleeping``, ``waiting``, ``completed``, ``failed``, ..."""
        return (await asyncio.wrap_future(self._transport.run_outcome(self.run_id, 0))).status

    async def result(self, timeout: Duration | None = None) -> R:  # noqa: ASYNC109 - the contract's name
        """Wait for the run to end, at most ``timeout``; return what its function returned.

        Raises:
            TimeoutError: it has not ended by then; it goes on.
            RunFailed: it failed.
            RunCancelled: it was cancelled.
        """
        outcome = await asyncio.wrap_future(self._transport.run_outcome(self.run_id, _seconds(timeout)))
        return self._read(outcome, timeout)

    async def cancel(self, reason: str = "") -> None:
        """Ask for the run to be cancelled, whether it has begun or not; return once Kafka has the request, which is not lost from then on.

        `result` raises `RunCancelled` once the run has stopped: a step in flight is cancelled, or if it is ``def``, ends first. A run that
        has ended stays as it is. ``reason`` is for whoever looks at the run.

        A batch, or a debounce that keeps all, is one run of many events, that of the first one to come: cancelling that one cancels all of them. The
        event of any other is not taken out; of a batch, ``cancel_on`` does that.

        Raises:
            SharedRunError: the run of another event has this one, or is to have it, as far as history has told so by now.
        """
        await asyncio.wrap_future(self._transport.cancel(self.run_id, _why(reason)))


class SyncRunHandle(_Handle[R]):
    """A run that was started, for programs without an event loop."""

    __slots__ = ()

    def status(self) -> str:
        """See `RunHandle.status`."""
        return self._transport.run_outcome(self.run_id, 0).result().status

    def result(self, timeout: Duration | None = None) -> R:
        """See `RunHandle.result`."""
        return self._read(self._transport.run_outcome(self.run_id, _seconds(timeout)).result(), timeout)

    def cancel(self, reason: str = "") -> None:
        """See `RunHandle.cancel`."""
        self._transport.cancel(self.run_id, _why(reason)).result()


def _why(reason: str) -> str:
    by = f"run.cancel() on {socket.gethostname()}"
    return f"{by}: {reason}" if reason else by


def _within(timeout: Duration | None) -> str:
    return "" if timeout is None else f" within {timeout}"


def _seconds(timeout: Duration | None) -> float | None:
    return None if timeout is None else milliseconds(timeout) / 1_000
