"""Notices user code that blocks the event loop, which stops every other run of the worker, and says which code it is."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from types import FrameType

from stream_engine.sdk.run import Execution
from stream_engine.sdk.step import StepCall

logger = logging.getLogger(__name__)

_BEATS = 4


class Watchdog:
    """Watches an event loop from a thread of its own.

    The loop beats a few times in ``limit`` seconds. When it has not for longer, the stack of its thread is logged, once for
    each time that it is blocked. Create it on the loop's thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: float) -> None:
        self._loop = loop
        self._limit = limit
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        self._beaten_at = time.monotonic()
        self._timer = loop.call_soon(self._beat)
        self._thread = threading.Thread(target=self._watch, name="stream-engine-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()
        self._timer.cancel()
        self._thread.join()

    def _beat(self) -> None:
        self._beaten_at = time.monotonic()
        self._timer = self._loop.call_later(self._limit / _BEATS, self._beat)

    def _watch(self) -> None:
        pause = self._limit / _BEATS
        reported = 0.0
        looked_at = time.monotonic()
        while not self._stopped.wait(pause):
            now = time.monotonic()
            # Where this thread was late too, it was the whole process that stood still, and nobody's code.
            on_time = now - looked_at < self._limit
            looked_at = now
            beaten_at = self._beaten_at
            if on_time and now - beaten_at > self._limit and beaten_at != reported:
                reported = beaten_at
                self._report(now - beaten_at)

    def _report(self, seconds: float) -> None:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the documented way to another thread's stack
        logger.warning(
            "the event loop has been blocked for %.1f s by %s; call blocking code in a `def` step, or by asyncio.to_thread\n%s",
            seconds,
            _culprit(frame),
            "".join(traceback.format_stack(frame)) if frame is not None else "",
        )


def _culprit(frame: FrameType | None) -> str:
    """Return the run and step whose code a stack is in: the frames of our own that called it know them."""
    step = ""
    while frame is not None:
        for value in (frame.f_locals.get("call"), frame.f_locals.get("execution")):
            if isinstance(value, StepCall) and not step:
                step = f"step {value.id!r} of run {value.run_id}, "
            if isinstance(value, Execution):
                return f"{step}function {value.run.function!r}, run {value.run_id}"
        frame = frame.f_back
    return step + "code outside of runs" if not step else step.removesuffix(", ")
