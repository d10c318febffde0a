"""What a burst of events on a slow function does: to the worker's memory, and to how soon another function begins."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from stream_engine.cli.bench.app import tick
from stream_engine.cli.bench.figure import Figure, latency, rss_bytes
from stream_engine.cli.bench.kafka import flood
from stream_engine.cli.output import say
from stream_engine.shell import clients
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings

_EVERY_SECONDS: Final = 0.05
_BEFORE_SECONDS: Final = 5.0
_AFTERWARDS_SECONDS: Final = 30.0
_STALLED_SECONDS: Final = 300.0


class Pings(threading.Thread):
    """Sends events now and then to a function that says by a datagram when it began; looks at the worker's memory meanwhile."""

    def __init__(self, settings: Settings, topic: str, pids: list[int]) -> None:
        super().__init__(name="pings", daemon=True)
        self.most_memory = 0
        self._topic = topic
        self._pids = pids
        self._producer = clients.producer(settings)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(_EVERY_SECONDS)
        self._sent: set[int] = set()
        self._begun: dict[int, int] = {}
        self._stopping = threading.Event()

    def send(self, partition: int = -1) -> None:
        """Send one event; to a partition of the events topic, if one is given."""
        sent = tick()
        self._sent.add(sent)
        data = {"sent": sent, "port": self._socket.getsockname()[1]}
        self._producer.produce(
            self._topic, msgspec.json.encode({"name": "bench/ping", "data": data}), partition=partition
        )
        self._producer.poll(0)

    def await_all(self) -> None:
        """Wait until the function has begun for all that was sent so far.

        Raises:
            UserError: nothing has begun for minutes.
        """
        awaited = set(self._sent)
        seen, since = -1, time.monotonic()
        while not awaited <= self._begun.keys():
            if len(self._begun) != seen:
                seen, since = len(self._begun), time.monotonic()
            if time.monotonic() > since + _STALLED_SECONDS:
                raise UserError(f"nothing has begun for {_STALLED_SECONDS:g} s; see the worker's log")
            time.sleep(_EVERY_SECONDS)

    def latencies(self, since: int, until: int) -> list[int]:
        """Return how long the function took to begin for what was sent in ``[since, until)``; all nanoseconds."""
        return [begun - sent for sent, begun in self._begun.items() if since <= sent < until]

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()
        self._socket.close()

    def run(self) -> None:
        """Send, listen and look, until told to stop."""
        due = time.monotonic()
        while not self._stopping.is_set():
            if time.monotonic() >= due:
                due += _EVERY_SECONDS
                self.send()
                self.most_memory = max(self.most_memory, rss_bytes(self._pids))
            with suppress(TimeoutError):
                sent, begun = msgspec.json.decode(self._socket.recv(1_024), type=list[int])
                self._begun[sent] = begun


def measure(settings: Settings, topic: str, pids: list[int], count: int) -> Iterator[Figure]:
    """Yield what a burst of ``count`` events does to a worker whose processes have these ids."""
    producer = clients.producer(settings)
    partitions = len(producer.list_topics(topic).topics[topic].partitions)
    pings = Pings(settings, topic, pids)
    pings.send()
    pings.start()
    pings.await_all()
    say(f"before the burst, for {_BEFORE_SECONDS:g} s")
    quiet = tick()
    time.sleep(_BEFORE_SECONDS)
    before = rss_bytes(pids)
    say(f"{count} events on a function whose step takes a second")
    began = tick()
    flood(producer, topic, "bench/slow", count)
    for partition in range(partitions):
        pings.send(partition)
    pings.await_all()
    taken = tick()
    say(f"all are taken in; {_AFTERWARDS_SECONDS:g} s more")
    time.sleep(_AFTERWARDS_SECONDS)
    pings.await_all()
    pings.stop()
    yield Figure("events of a burst, taken in", count / ((taken - began) / 1e9), "events/s")
    start = "another function: event sent to begun"
    yield from latency(f"{start}, before", pings.latencies(quiet, began))
    yield from latency(f"{start}, while it is taken in", pings.latencies(began, taken))
    yield from latency(f"{start}, afterwards", pings.latencies(taken, tick()))
    yield Figure("memory of the worker (RSS), before", before / 2**20, "MiB")
    yield Figure("memory of the worker (RSS), most", pings.most_memory / 2**20, "MiB")
