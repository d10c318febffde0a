"""How long it takes whoever completes a callback to hear that it counts, and how many are completed by events in a second."""

import time
from collections.abc import Iterator
from typing import Final

from stream_engine.cli.bench.figure import Figure, latency, rss_bytes, tick
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.bench.kafka import Tail, flood, send_all, throughput
from stream_engine.cli.output import say
from stream_engine.core.records.history import StepRecorded
from stream_engine.core.routing.callback_event import COMPLETED_EVENT
from stream_engine.core.routing.callback_token import Named, token_of
from stream_engine.shell import clients
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating.completing import Completing
from stream_engine.shell.published import Published
from stream_engine.shell.secret import secret_of

_SAMPLES: Final = 300
_SECONDS: Final = 30.0


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield how long a completion takes until it is confirmed, what ``count`` open callbacks take, and how many are completed in a second.

    Raises:
        UserError: a completion was refused.
    """
    settings, names = ground.settings, ground.names
    pids = [ground.worker("only").pid]
    producer = clients.producer(settings)
    ends = Tail(settings, names.history, settings.partitions)
    say("warming up")
    throughput(producer, names.events, "bench/five", 2_000, ends)
    waits = Tail(settings, names.history, settings.partitions, StepRecorded)
    secret = secret_of(Published(settings, names.control).control.values) or b""

    def opened(number: int) -> list[str]:
        flood(producer, names.events, "bench/callback", number)
        records = [waits.record(value) for value in waits.take(number)]
        return [token_of(secret, Named(names.app, one.run_id, "answer")) for one in records]

    say(f"{_SAMPLES} callbacks, completed one at a time")
    taken = []
    with Completing(settings, names.app) as completing:
        for token in opened(_SAMPLES):
            sent = tick()
            outcome = completing.complete(token, b"true", "bench", _SECONDS)
            taken.append(tick() - sent)
            if not outcome.completed:
                raise UserError(f"a completion was refused ({outcome.disposition}): {outcome.detail}")
    yield from latency("a completion: sent to confirmed", taken[1:])
    ends.take(_SAMPLES)
    waits.take(_SAMPLES)
    say(f"{count} callbacks are open, and completed at once")
    before = rss_bytes(pids)
    tokens = opened(count)
    yield Figure("memory of the worker for each open callback", (rss_bytes(pids) - before) / count, "bytes")
    began = time.monotonic()
    send_all(producer, names.events, COMPLETED_EVENT, ({"token": token, "data": True} for token in tokens))
    ends.take(count)
    yield Figure(
        "callbacks completed by events, to the end of their runs", count / (time.monotonic() - began), "callbacks/s"
    )
    ends.close()
    waits.close()
