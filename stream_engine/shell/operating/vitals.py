"""How an app is doing, as `doctor` asks: whether its leaders decide, for how long events wait, what is not read for waits, and which run waits for longest."""

import logging
from collections.abc import Sequence
from typing import Final

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from stream_engine.core.records.journal import Decided
from stream_engine.core.routing.offering import unanswered
from stream_engine.core.routing.rewind import read_mark
from stream_engine.core.views.facts import LeadFacts, UnreadFacts, WaitFacts
from stream_engine.core.waits.interests import Interests
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.index import Index, ask
from stream_engine.shell.operating.settled import newest
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS

_log: Final = logging.getLogger(__name__)


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


def unread(admin: AdminClient, group: str, interests: Interests) -> list[UnreadFacts]:
    """Return the partitions of events that are still to be read again for those who have begun to wait, by what their group has committed.

    Raises:
        KafkaException: Kafka does not answer.
    """
    committed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
    found = []
    for part in committed.topic_partitions:
        mark = read_mark(part.metadata)
        request = None if mark is None else unanswered(interests, mark.interests)
        if request is not None:
            found.append(UnreadFacts(part.topic, part.partition, request.name, request.at))
    return found


def longest_wait(settings: Settings, app: str) -> WaitFacts | None:
    """Return the run whose wait ends longest after it was created, if one waits for a time; none where no index of runs can be had."""
    try:
        found = ask(settings, app, Index.longest_wait)
    except UserError as error:
        _log.debug("how long runs wait is not known: %s", error)
        return None
    if found is None or found.created_at is None or found.waits_until is None:
        return None
    return WaitFacts(found.run_id, found.function, found.created_at, found.waits_until)


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
