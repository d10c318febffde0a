"""What a thread is asked to do by others."""

from collections.abc import Callable
from queue import Queue


class Inbox(Queue[Callable[[], None]]):
    """What a thread is to call, in order; it may wait for that with a timeout.

    It is no `queue.SimpleQueue`: where a signal interrupts a wait of that after its time, the wait has no end any more (CPython 3.11). So it was
    where a process had stood still, and the kernel gave the SIGTERM that came next to another thread than the main one.
    """
