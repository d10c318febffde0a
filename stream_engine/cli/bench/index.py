"""The run index: how long it takes to build, what it takes on disk, and how long listings with each kind of filter take."""

import functools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from confluent_kafka import Producer

from stream_engine.cli.bench.figure import Figure, latency, tick
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.output import say
from stream_engine.core.failure import Failure
from stream_engine.core.identity import digest
from stream_engine.core.partition.change import Told
from stream_engine.core.records.history import HistoryRecord, RunChanged, RunEnded, RunStarted, StepRecorded
from stream_engine.core.records.journal import Mark
from stream_engine.core.views.run_listing import Selection
from stream_engine.shell import clients, topics
from stream_engine.shell.clock import now_ms
from stream_engine.shell.history.codec import encode
from stream_engine.shell.history.index import Index, ask
from stream_engine.shell.settings import Settings

_FUNCTIONS: Final = 20
_APART_MS: Final = 60
_ROWS: Final = 50
_SAMPLES: Final = 200
_ROUNDS: Final = 50
_POLL_EVERY: Final = 1_000
_REPLAY: Final = "r1-bench"
_FAILURE: Final = Failure("GatewayError", "503", "Traceback (most recent call last):\n  ...\nGatewayError: 503\n")


def measure(ground: Ground, count: int) -> Iterator[Figure]:
    """Yield figures of an index of ``count`` runs, of which history tells four records each."""
    settings = replace(ground.settings, state_dir=ground.folder("index"))
    topics.apply(clients.admin(settings), ground.names, settings.partitions)
    producer, end = clients.producer(settings), now_ms()
    begin = end - count * _APART_MS
    say(f"history tells of {count:,} runs")
    _tell(producer, ground, (_run(number, begin, settings) for number in range(count)))
    app, began = ground.names.app, time.monotonic()
    say("the index is built")
    found = ask(settings, app, lambda index: sum(index.counts().values()))
    yield Figure(f"index of {found:,} runs: built in", time.monotonic() - began, "s")
    size = sum(path.stat().st_size for path in Path(settings.state_dir).rglob("*") if path.is_file())
    yield Figure(f"index of {found:,} runs: on disk", size / 2**20, "MiB")
    yield from ask(settings, app, lambda index: list(_listings(index, begin, end)))
    times = [_timed(lambda: ask(settings, app, lambda index: index.list(Selection(), _ROWS))) for _ in range(20)]
    yield Figure("opened, found to be up to date, listed and closed, p50", statistics.median(times) / 1e6, "ms")
    yield from _in_passing(ground, settings, producer, count)


def _listings(index: Index, begin: int, end: int) -> Iterator[Figure]:
    middle, hour = (begin + end) // 2, 3_600_000
    kinds = {
        "all": Selection(),
        "--function": Selection("function-3"),
        "--status failed": Selection(statuses=["failed"]),
        "--status waiting, the rarest": Selection(statuses=["waiting"]),
        "--waiting": Selection(statuses=["queued", "sleeping", "waiting"]),
        "--until, an old page": Selection(until=begin + (end - begin) // 10),
        "--function --status sleeping --status waiting": Selection("function-0", ["sleeping", "waiting"]),
        "--since --until": Selection(since=middle, until=middle + hour),
        "--function --status --since --until": Selection("function-0", ["failed"], middle, middle + 4 * hour),
        "--replay": Selection(replay_id=_REPLAY),
        "--replay --function --status": Selection("function-8", ["failed"], replay_id=_REPLAY),
        "--replay, of which a function has none": Selection("function-1", replay_id=_REPLAY),
        "--event": Selection(event_id="order-77"),
        "--event --function --status": Selection("function-17", ["completed"], event_id="order-77"),
        "nothing is found": Selection("function-99", until=middle),
    }
    for name, selection in kinds.items():
        listing = functools.partial(index.list, selection, _ROWS)
        yield from latency(f"listing, {name}", (_timed(listing) for _ in range(_SAMPLES)))


def _in_passing(ground: Ground, settings: Settings, producer: Producer, count: int) -> Iterator[Figure]:
    """Runs that the index sees running, and then ended, leave marks of what was deleted where the newest are looked for."""
    app, times, updates = ground.names.app, [], []
    running = Selection(statuses=["running"])
    for part in range(_ROUNDS):
        numbers = range(count + part * _POLL_EVERY, count + (part + 1) * _POLL_EVERY)
        runs = [_run(number, now_ms() - number * _APART_MS, settings) for number in numbers]
        for begins in (True, False):
            _tell(
                producer, ground, ((p, n, told[:1] if begins else told[1:]) for p, n, told in runs), part * 2 + begins
            )
            updates.append(_timed(lambda: ask(settings, app, Index.counts)))
        times.append(ask(settings, app, lambda index: _timed(lambda: index.list(running, _ROWS))))
    yield Figure(f"brought up to date with {_POLL_EVERY:,} runs more, p50", statistics.median(updates) / 1e6, "ms")
    yield from latency(f"listing, --status running, while {_ROUNDS * _POLL_EVERY:,} come and go", times)


def _run(number: int, begin: int, settings: Settings) -> tuple[int, int, list[HistoryRecord]]:
    """Return a run's partition, number and what is told of it: most complete, some fail, few have not ended."""
    partition, at = number % settings.partitions, begin + number * _APART_MS
    function, run = f"function-{number % _FUNCTIONS}", f"{digest('bench', str(number))}-{number % settings.partitions}"
    event = ("order/placed", f"order-{number}", "bench.events", 0, number)
    # Of two functions, which have a tenth of all.
    replay = _REPLAY if number % _FUNCTIONS in {0, 8} else None
    step = (run, function, "charge", "run")
    told: list[HistoryRecord] = [
        RunStarted(at, run, function, "1", at, *event, f"customer-{number % 1_000}", replay),
        StepRecorded(at + 5, run, function, "load", "run", "completed", 0, at + 1, None, '{"id":7,"total":129.9}'),
    ]
    match number % 1_000:
        case rest if rest < 30:
            told.append(StepRecorded(at + 9, *step, "failed", 0, at + 5, None, None, _FAILURE))
            told.append(RunEnded(at + 9, run, function, "1", "failed", at, 0, None, _FAILURE, replay))
        case 100:
            told.append(StepRecorded(at + 9, run, function, "cool-down", "sleep", "sleeping", 0, at, at + 86_400_000))
        case 101:
            told.append(RunChanged(at + 9, run, function, "1", "parked", 0))
        case 102:
            told.append(StepRecorded(at + 9, *step, "completed", 0, at + 5, None, '{"paid":true}'))
        case _:
            told.append(StepRecorded(at + 9, *step, "completed", 0, at + 5, None, '{"paid":true}'))
            told.append(RunEnded(at + 9, run, function, "1", "completed", at, 0, '{"ok":true}', None, replay))
    return partition, number, told


def _tell(
    producer: Producer, ground: Ground, runs: Iterable[tuple[int, int, list[HistoryRecord]]], epoch: int = 0
) -> None:
    for partition, number, told in runs:
        for key, value in encode(Told(Mark(number, epoch, number), told), partition):
            while True:
                try:
                    producer.produce(ground.names.history, value, key, partition)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    producer.flush()


def _timed(what: Callable[[], object]) -> int:
    began = tick()
    what()
    return tick() - began
