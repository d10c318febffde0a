"""The inbox of a thread, where SIGTERM comes while the process stands still."""

import ctypes
import os
import signal
import subprocess
import sys
import time

_WAITS = """
import queue, signal, threading
from stream_engine.shell.inbox import Inbox

def wait():
    print(threading.get_native_id(), flush=True)
    try:
        Inbox().get(timeout=0.5)
    except queue.Empty:
        print("empty", flush=True)

signal.signal(signal.SIGTERM, lambda *_: None)
thread = threading.Thread(target=wait, daemon=True)
thread.start()
thread.join(20)
"""


def test_a_wait_ends_although_a_signal_interrupts_it_after_its_time() -> None:
    with subprocess.Popen([sys.executable, "-c", _WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        thread = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert ctypes.CDLL(None).tgkill(process.pid, thread, signal.SIGTERM) == 0
        time.sleep(0.6)  # until the wait is over
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout.readline() == "empty\n"
