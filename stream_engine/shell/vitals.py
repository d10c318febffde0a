"""How an app is doing, as `doctor` asks: whether its leaders decide, for how long events wait, and which run waits for longest."""

import logging
from collections.abc import Sequence
from typing import Final

from confluent_kafka import TopicPartition

from stream_engine.core.diagnosis import LeadFacts, WaitFacts
from stream_engine.core.records import Decided
from stream_engine.core.run_listing import Selection
from stream_engine.core.runs import LAST_MS, FoldedRun
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.index import ask
from stream_engine.shell.settings import Settings
from stream_engine.shell.settled import newest
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS

_log: Final = logging.getLogger(__name__)
_WAITING: Final = ("queued", "sleeping", "waiting")
_LOOKED_AT: Final = 10_000
"""Of how many runs that wait, the newest ones, it is known until when."""


def leads(settings: Settings, names: Names, now: int) -> list[LeadFacts]:
    """Return how far the leader of each partition is behind, by its journal; ``now`` is milliseconds since the epoch.

    Raises:
        KafkaException: Kafka does not answer.
    """
    consumer = clients.reader(settings)
    try:
        numbers = sorted(consumer.list_topics(names.commands, timeout=ANSWER_SECONDS).topics[names.commands].partitions)
        found = newest(consumer, names.journal, numbers)
        return [
            _lead(number, decided, clients.offsets(consumer, names.commands, number), now)
            for number, decided in found.items()
        ]
    finally:
        consumer.close()


def _lead(number: int, decided: Decided | None, there: range, now: int) -> LeadFacts:
    taken = there.start if decided is None else max(decided.commands, there.start)
    return LeadFacts(number, max(there.stop - taken, 0), None if decided is None else max(now - decided.now, 0))


def longest_wait(settings: Settings, app: str) -> WaitFacts | None:
    """Return the run whose wait ends longest after it was created, if one waits for a time; none where no index of runs can be had."""
    try:
        found = ask(settings, app, lambda index: index.list(Selection(statuses=_WAITING), _LOOKED_AT).runs)
    except UserError as error:
        _log.debug("how long runs wait is not known: %s", error)
        return None
    waits = [
        WaitFacts(run.run_id, run.function, run.created_at, until)
        for run in found
        if (until := _until(run)) is not None and run.created_at is not None
    ]
    return max(waits, key=lambda one: one.until - one.created_at, default=None)


def _until(run: FoldedRun) -> int | None:
    ends = [step.last.wake_at for step in run.steps.values() if not step.settled]
    ends += [run.wake_at, None if run.gate is None else run.gate.earliest]
    return max((end for end in ends if end is not None and end <= LAST_MS), default=None)


def oldest(settings: Settings, places: Sequence[TopicPartition], now: int) -> int:
    """Return for how long, in milliseconds, the oldest of the records at some places lies there; 0 if there are none.

    Raises:
        KafkaException: Kafka does not answer.
    """
    consumer = clients.reader(settings)
    try:
        consumer.assign(list(places))
        left, since = {(part.topic, part.partition) for part in places}, now
        deadline = monotonic() + ANSWER_SECONDS
        while left and monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                left.discard((str(message.topic()), message.partition() or 0))
                since = min(since, message.timestamp()[1])
        return max(now - since, 0) if places else 0
    finally:
        consumer.close()
