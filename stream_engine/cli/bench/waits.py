"""Waiting for events: races between waits and their events, of which none may be lost; very many open waits, their memory, and how fast they are matched."""

import time
from collections.abc import Iterator
from typing import Final

import msgspec

from stream_engine.cli.bench.figure import Figure, latency, rss_bytes, tick
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.bench.kafka import Tail, send_all, throughput
from stream_engine.cli.output import say
from stream_engine.core.records.history import RunEnded, StepRecorded
from stream_engine.shell import clients
from stream_engine.shell.errors import UserError

_RACES: Final = 10_000
_SAMPLES: Final = 300
_SETTLE_SECONDS: Final = 15.0
"""How long runs stay loaded that have begun to wait, and somewhat more."""


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield what becomes of 10,000 waits whose events are sent at once, and what ``count`` open waits cost.

    Raises:
        UserError: a wait has missed its event.
    """
    settings, names = ground.settings, ground.names
    pids = [ground.worker("only").pid]
    producer = clients.producer(settings)
    ends = Tail(settings, names.history, settings.partitions)
    say("warming up")
    throughput(producer, names.events, "bench/five", 2_000, ends)
    say(f"{_RACES} runs wait for what another function sends at once")
    began = time.monotonic()
    send_all(producer, names.events, "bench/race", ({"key": number} for number in range(_RACES)))
    found = {number for value in ends.take(2 * _RACES) for number in ends.times(value)}
    yield Figure("events that were waited for at once, and found", len(found), f"of {_RACES}")
    yield Figure("waits and their events, with the runs on both sides", _RACES / (time.monotonic() - began), "waits/s")
    if len(found) < _RACES:
        raise UserError(f"{_RACES - len(found)} of {_RACES} waits have missed their event")
    waiting = Tail(settings, names.history, settings.partitions, StepRecorded)
    say(f"{_SAMPLES} waits, one at a time")
    yield from latency("waited for: sent to the code that goes on", _one_at_a_time(ground, waiting, ends))
    say(f"{count} runs wait")
    residents = [rss_bytes(pids)]
    began = time.monotonic()
    for start, stop in ((0, count // 2), (count // 2, count)):
        send_all(producer, names.events, "bench/wait", ({"key": number} for number in range(start, stop)))
        _waiting(waiting, stop - start)
        if not start:
            yield Figure("runs that come to wait", stop / (time.monotonic() - began), "runs/s")
        time.sleep(_SETTLE_SECONDS)
        residents.append(rss_bytes(pids))
    before, half, full = residents
    yield Figure("memory of the worker (RSS), before", before / 2**20, "MiB")
    yield Figure(f"memory of the worker (RSS), with {count} open waits", full / 2**20, "MiB")
    # The first half also fills what has a size of its own, such as the stores' buffers; the second one shows what a wait adds.
    yield Figure("memory for each open wait, of the second half", (full - half) / (count - count // 2), "bytes")
    say("their events come")
    began = time.monotonic()
    send_all(producer, names.events, "bench/told", ({"key": number, "sent": 0} for number in range(count)))
    ends.take(count)
    yield Figure(
        "open waits that are matched, and their runs loaded and ended", count / (time.monotonic() - began), "waits/s"
    )


def _one_at_a_time(ground: Ground, waiting: Tail, ends: Tail) -> Iterator[int]:
    producer, topic = clients.producer(ground.settings), ground.names.events
    for number in range(_SAMPLES):
        key = f"sample-{number}"
        producer.produce(topic, msgspec.json.encode({"name": "bench/wait", "data": {"key": key}}))
        producer.flush()
        _waiting(waiting, 1)
        producer.produce(topic, msgspec.json.encode({"name": "bench/told", "data": {"key": key, "sent": tick()}}))
        producer.flush()
        [value] = ends.take(1)
        record = ends.record(value)
        assert isinstance(record, RunEnded)
        sent, at = msgspec.json.decode(record.result or "[]", type=list[int])
        yield at - sent


def _waiting(waiting: Tail, count: int) -> None:
    """Wait until so many runs more wait."""
    while count > 0:
        for value in waiting.take(1):
            record = waiting.record(value)
            assert isinstance(record, StepRecorded)
            count -= record.status == "waiting"
