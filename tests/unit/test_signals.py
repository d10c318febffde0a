"""Signals that ask to stop are heard whatever the main thread does, and whoever does not stop is given up."""

import os
import signal
import threading
import time

import pytest

from stream_engine.cli.signals import Signals

SECONDS = 30


def test_a_signal_is_heard_while_the_main_thread_is_busy_and_after_a_while_it_is_over() -> None:
    heard, over = threading.Event(), threading.Event()
    until = time.monotonic() + SECONDS
    with Signals(heard.set, 0.05, over.set):
        os.kill(os.getpid(), signal.SIGTERM)
        # As code of an app does that blocks the event loop.
        while not (heard.is_set() and over.is_set()) and time.monotonic() < until:
            pass
    assert heard.is_set()
    assert over.is_set()


def test_who_stops_in_time_is_not_given_up_and_leaves_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    heard, over = threading.Semaphore(0), threading.Event()
    with Signals(heard.release, SECONDS, over.set):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
            assert heard.acquire(timeout=SECONDS)
    assert not over.is_set()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_second_signal_waits_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_engine.cli.signals._HURRY_SECONDS", 0.05)
    heard, over = threading.Semaphore(0), threading.Event()
    with Signals(heard.release, 3_600, over.set):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard.acquire(timeout=SECONDS)
        assert over.wait(SECONDS)
