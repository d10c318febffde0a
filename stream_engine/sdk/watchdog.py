"""Notices user code that blocks the event loop, which stops every other run of the worker, and says which code it is."""

import asyncio
import logging
import selectors
import sys
import threading
import time
from pathlib import Path
from traceback import StackSummary
from types import FrameType

from stream_engine.sdk.body import run_body
from stream_engine.sdk.run import Execution
from stream_engine.sdk.step import StepCall

logger = logging.getLogger(__name__)

_BEATS = 4
_FRAMES = 10
_HERE = str(Path(__file__).parent)


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
                frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the documented way to another thread's stack
                if not _waits(frame):
                    reported = beaten_at
                    self._report(now - beaten_at, frame)

    def _report(self, seconds: float, frame: FrameType | None) -> None:
        logger.warning(
            "the event loop has been blocked for %.1f s by %s; call blocking code in a `def` step, or by asyncio.to_thread\n%s",
            seconds,
            _culprit(frame),
            _users_stack(frame),
        )


def _waits(frame: FrameType | None) -> bool:
    """Return whether the loop itself waits for something to do: then it is late because the machine is, and blocked by nobody's code."""
    return frame is not None and frame.f_code.co_filename == selectors.__file__


def _users_stack(frame: FrameType | None) -> str:
    """Return the part of a stack that is below the call of the user's function or step, and in it what is not ours.

    Of a deep one, both ends: where the user's code comes in, and what blocks.
    """
    below: list[FrameType] = []
    while frame is not None and not _calls_users_code(frame):
        below.append(frame)
        frame = frame.f_back
    theirs = [frame for frame in below if not _is_ours(frame)]
    shown = StackSummary.extract((frame, frame.f_lineno) for frame in reversed(theirs or below)).format()
    if len(shown) > _FRAMES:
        shown[_FRAMES // 2 : -_FRAMES // 2] = [f"  [... {len(shown) - _FRAMES} calls ...]\n"]
    return "".join(shown)


def _calls_users_code(frame: FrameType) -> bool:
    if frame.f_code in (run_body.__code__, asyncio.Handle._run.__code__):  # noqa: SLF001 - what the loop calls everything by
        return True
    return _is_ours(frame) and isinstance(frame.f_locals.get("call"), StepCall)


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_HERE)


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
