"""What flow control costs: events through each gate, a hundred keys side by side, and a plain function beside them."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

from stream_engine.cli.bench.figure import Figure, latency, tick
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.bench.kafka import Tail, send_all
from stream_engine.cli.bench.pings import Pings
from stream_engine.cli.output import say
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded, RunStarted
from stream_engine.shell import clients

KEYS: Final = 100
RUN_SECONDS: Final = 0.05
_RUNS_PER_KEY: Final = 200
_BEFORE_SECONDS: Final = 5.0


class _Gate(NamedTuple):
    """A gate, and how many records of history ``count`` events on a hundred keys make by which their end is known, of a kind."""

    name: str
    kind: type[HistoryRecord]
    records: Callable[[int], int]
    disposition: str = ""

    def counts(self, record: HistoryRecord) -> bool:
        """Return whether a record is one of them."""
        return not isinstance(record, EventDisposed) or record.disposition == self.disposition


def _all_but_one_each(count: int) -> int:
    return count - KEYS


_GATES: Final = {
    "bench/one": _Gate("none", RunEnded, int),
    "bench/idempotent": _Gate("idempotency, all but 100 known", EventDisposed, _all_but_one_each, "duplicate"),
    "bench/debounced": _Gate("debounce, all but 100 coalesced", EventDisposed, _all_but_one_each, "coalesced"),
    "bench/batched": _Gate("batch of 100, keyed", RunEnded, lambda count: count // KEYS),
    "bench/rated": _Gate("rate limit, all but 100 dropped", EventDisposed, _all_but_one_each, "rate-limited"),
    "bench/throttled": _Gate("throttle, keyed, never reached", RunEnded, int),
    "bench/limited": _Gate("concurrency, keyed, never reached", RunEnded, int),
    "bench/limited-in-all": _Gate("concurrency, unkeyed, never reached", RunEnded, int),
}


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield events per second through each gate, ``count`` at a time, and what a limit of one run for each key costs."""
    ground.worker("only")
    producer, topic = clients.producer(ground.settings), ground.names.events
    warm = Tail(ground.settings, ground.names.history, ground.settings.partitions)
    send_all(producer, topic, "bench/one", _keys(2_000))
    warm.take(2_000)
    warm.close()
    for event, gate in _GATES.items():
        say(f"{count} events: {gate.name}")
        tail = Tail(ground.settings, ground.names.history, ground.settings.partitions, gate.kind, in_bulk=True)
        began = time.monotonic()
        send_all(producer, topic, event, _keys(count))
        _await(tail, gate, count)
        yield Figure(f"events through a gate: {gate.name}", count / (time.monotonic() - began), "events/s")
        tail.close()
    yield from _side_by_side(ground)


def _side_by_side(ground: Ground) -> Iterator[Figure]:
    """Yield what a limit of one run for each key costs: with the intake of the events, and once all of them wait in their queues."""
    runs = KEYS * _RUNS_PER_KEY
    producer, topic = clients.producer(ground.settings), ground.names.events
    history = partial(Tail, ground.settings, ground.names.history, ground.settings.partitions, in_bulk=True)
    with Pings(ground.settings, topic) as pings:
        pings.await_all()
        quiet = tick()
        time.sleep(_BEFORE_SECONDS)
        say(f"{KEYS} keys with {_RUNS_PER_KEY} runs of {RUN_SECONDS * 1_000:g} ms each, one at a time for each key")
        ends = history(RunEnded)
        began = tick()
        send_all(producer, topic, "bench/keyed", _keys(runs))
        _await_keyed(ends, runs)
        ended = tick()
        pings.await_all()
        say("the same, once all of them wait")
        disposed, begun = history(EventDisposed), history(RunStarted)
        send_all(producer, topic, "bench/keyed", ({**key, "holds": True} for key in _keys(KEYS)))
        _await_keyed(begun, KEYS)
        send_all(producer, topic, "bench/keyed", _keys(runs))
        _await_keyed(disposed, runs, "queued")
        # They would go on fetching beside what is measured next.
        for tail in (disposed, begun):
            tail.close()
        let_go = tick()
        send_all(producer, topic, "bench/go", [{"go": True}])
        _await_keyed(ends, KEYS + runs)
        over = tick()
        pings.await_all()
    ideal = _RUNS_PER_KEY * RUN_SECONDS
    yield Figure("100 keys x 200 runs of 50 ms at limit 1, to the ideal", (ended - began) / 1e9 / ideal, "times")
    yield Figure("100 keys x 200 runs of 50 ms that wait already, to the ideal", (over - let_go) / 1e9 / ideal, "times")
    start = "a plain function: event sent to begun"
    yield from latency(f"{start}, before", pings.latencies(quiet, began))
    yield from latency(f"{start}, beside them", pings.latencies(began, ended))
    yield from latency(f"{start}, beside those that wait already", pings.latencies(let_go, over))
    ends.close()


def _await_keyed(tail: Tail, count: int, disposition: str = "") -> None:
    while count > 0:
        for record in map(tail.record, tail.take(1)):
            is_keyed = isinstance(record, RunStarted | RunEnded | EventDisposed) and record.function == "keyed"
            count -= is_keyed and (not isinstance(record, EventDisposed) or record.disposition == disposition)


def _await(tail: Tail, gate: _Gate, count: int) -> None:
    left = gate.records(count)
    while left > 0:
        left -= sum(gate.counts(tail.record(value)) for value in tail.take(1))


def _keys(count: int) -> Iterator[dict[str, str]]:
    return ({"key": f"key-{number % KEYS}"} for number in range(count))
