"""What very many sleeping runs take of a worker's memory, and how late they are woken: spread over a minute, and all at once."""

import random
import time
from collections.abc import Iterator
from typing import Final

from stream_engine.cli.bench.figure import Figure, latency, rss_bytes
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.bench.kafka import Tail, send_all, throughput
from stream_engine.cli.output import say
from stream_engine.core.records.history import StepRecorded
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.errors import UserError

_AT_ONCE: Final = 10_000
_SPREAD_MS: Final = 60_000
_BETWEEN_MS: Final = 10_000
_TO_SLEEP_A_SECOND: Final = 1_000
"""How many runs go to sleep in a second on a slow machine, so that all sleep before the first is due."""


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield what ``count`` runs that sleep, and as many as 10,000 more that are due together, do to a worker.

    Raises:
        UserError: the worker took so long that runs were due before all were asleep.
    """
    settings, names = ground.settings, ground.names
    pids = [ground.worker("only").pid]
    producer = clients.producer(settings)
    ends = Tail(settings, names.history, settings.partitions)
    say("warming up")
    throughput(producer, names.events, "bench/five", 2_000, ends)
    yield Figure("steps, in runs of five", throughput(producer, names.events, "bench/five", 8_000, ends) * 5, "steps/s")
    asleep = Tail(settings, names.history, settings.partitions, StepRecorded)
    first = now_ms() + (count + _AT_ONCE) * 1_000 // _TO_SLEEP_A_SECOND + _BETWEEN_MS
    together = first + _SPREAD_MS + _BETWEEN_MS
    say(f"{count} runs go to sleep")
    spread = random.Random(0)
    residents = [rss_bytes(pids)]
    for part in (count // 2, count - count // 2):
        data = ({"until": first + spread.randrange(_SPREAD_MS)} for _ in range(part))
        send_all(producer, names.events, "bench/sleep", data)
        asleep.take(part)
        residents.append(rss_bytes(pids))
    before, half, full = residents
    yield Figure("memory of the worker (RSS), before", before / 2**20, "MiB")
    yield Figure("memory of the worker (RSS), when all sleep", full / 2**20, "MiB")
    # The first half also fills what has a size of its own, such as the stores' buffers; the second one shows what a run adds.
    yield Figure("memory for each that sleeps, of the second half", (full - half) / (count - count // 2), "bytes")
    send_all(producer, names.events, "bench/rise", ({"until": together} for _ in range(_AT_ONCE)))
    asleep.take(_AT_ONCE)
    if now_ms() > first:
        raise UserError("the first were due before the last were asleep; this machine needs a smaller --count")
    say(f"they are woken in {(first - now_ms()) / 1_000:.0f} s, within a minute; {_AT_ONCE} more later, all at once")
    time.sleep((first - now_ms()) / 1_000)
    woken = [ends.times(value) for value in ends.take(count)]
    yield from latency("woken within a minute: due to the code that goes on", ((at - due) * 1_000 for due, at in woken))
    woken = [ends.times(value) for value in ends.take(_AT_ONCE)]
    took = (now_ms() - together) / 1_000
    # The sleep is a step too, whose end is recorded as that of the five others is.
    yield Figure(f"steps of {_AT_ONCE} runs that are due together, six each", _AT_ONCE * 6 / took, "steps/s")
    yield Figure("of these, due to the last that goes on", max(at - due for due, at in woken) / 1_000, "ms")
