"""The thread that reads events again for those who have begun to wait for them, with a reader that belongs to no group."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from stream_engine.core.routing.cause import sender_of
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.offering import Scan
from stream_engine.core.routing.parcels import Parcels, unnumbered
from stream_engine.shell.clock import monotonic
from stream_engine.shell.routing.avro_events import UnavailableError
from stream_engine.shell.routing.route import Route, message_of

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 1_000
_POLL_SECONDS: Final = 0.05
_DELIVERY_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 30.0
_STALLED_SECONDS: Final = 30.0
_SMALL: Final = 300
"""How many bytes an offer takes besides the event's data."""


class _ScanError(Exception):
    """A scan did not succeed; it is to be tried again."""


@dataclass
class _Job:
    """A scan; ``wanted`` says whether its lane is still this worker's, and ``done`` is called when all is acknowledged."""

    scan: Scan
    wanted: Callable[[], bool]
    done: Callable[[], None]
    position: int = 0


class Backfill(threading.Thread):
    """Performs the scans of lanes, those that come together in one pass over the log."""

    def __init__(
        self,
        route: Route,
        connect: Callable[[], Consumer],
        produce: Callable[[], Producer],
        failed: Callable[[BaseException], None],
    ) -> None:
        """``connect`` and ``produce`` make a client each when there is first something to do; the consumer is to tell where a partition ends."""
        super().__init__(name="backfill", daemon=True)
        self._route = route
        self._connect = connect
        self._produce = produce
        self._failed = failed
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._clients: tuple[Consumer, Producer] | None = None
        self._stopping = threading.Event()

    def submit(self, scan: Scan, wanted: Callable[[], bool], done: Callable[[], None]) -> None:
        """Have a scan performed, unless it is not ``wanted`` any more; call ``done`` on this thread then. From any thread."""
        self._jobs.put(_Job(scan, wanted, done))

    def stop(self) -> None:
        """End the thread; scans that are not done are begun again by whoever has the lanes next."""
        self._stopping.set()
        self._jobs.put(None)
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Perform scans, until told to stop."""
        try:
            while (job := self._jobs.get()) is not None:
                jobs = [job]
                while not self._jobs.empty():
                    more = self._jobs.get()
                    if more is None:
                        return
                    jobs.append(more)
                self._perform_all(jobs)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the thread that reads events again for waits failed")
            self._failed(error)
        finally:
            self._let_go()

    def _perform_all(self, jobs: list[_Job]) -> None:
        while jobs and not self._stopping.is_set():
            jobs = [job for job in jobs if job.wanted()]
            try:
                if jobs:
                    self._perform(jobs)
                return
            except (KafkaException, UnavailableError, _ScanError) as error:
                _log.warning("reading %s again for waits: %s; it is tried again", self._route.events, error)
                # A client that has failed for good, or has lost all brokers, would fail for ever, and runs would wait for as long.
                self._let_go()
                self._stopping.wait(_RETRY_SECONDS)

    def _let_go(self) -> None:
        """Have other clients be made when there is next something to do."""
        if self._clients is not None:
            self._clients[0].close()
            self._clients = None

    def _perform(self, jobs: list[_Job]) -> None:
        if self._clients is None:
            self._clients = self._connect(), self._produce()
        consumer, producer = self._clients
        began = monotonic()
        lanes = tuple((topic, _partitions(producer, topic)) for topic in self._route.routed)
        events = self._read(consumer, producer, {job.scan.partition: job for job in jobs})
        parcels = Parcels(unnumbered)
        for job in jobs:
            for owner, answer in job.scan.answers(lanes):
                parcels.add(owner, 0, answer, 0)
        self._send(producer, parcels)
        _log.info("read %d events of %s again for waits, in %.1f s", events, self._route.events, monotonic() - began)
        for job in jobs:
            job.done()

    def _read(self, consumer: Consumer, producer: Producer, jobs: dict[int, _Job]) -> int:
        """Offer the events of all scans; return how many there were."""
        wanted = [TopicPartition(self._route.events, number, job.scan.since) for number, job in jobs.items()]
        starts = []
        for part in consumer.offsets_for_times(wanted, timeout=_ANSWER_SECONDS):
            if part.error is not None:
                raise KafkaException(part.error)
            # Nothing has come since then.
            job = jobs[part.partition]
            job.position = part.offset if part.offset >= 0 else job.scan.stop
            if job.position < job.scan.stop:
                starts.append(TopicPartition(part.topic, part.partition, job.position))
        open_jobs = {part.partition: jobs[part.partition] for part in starts}
        consumer.assign(starts)
        events, heard = 0, monotonic()
        try:
            while open_jobs and not self._stopping.is_set():
                batch = consumer.consume(_AT_ONCE, _POLL_SECONDS)
                parcels = Parcels(unnumbered)
                for raw in batch:
                    events += self._offer(raw, open_jobs, parcels)
                self._send(producer, parcels)
                self._close(consumer, open_jobs)
                heard = monotonic() if batch else heard
                if monotonic() > heard + _STALLED_SECONDS:
                    raise _ScanError(f"nothing has come for {_STALLED_SECONDS:g} s")
        finally:
            consumer.unassign()
        if open_jobs:
            raise _ScanError("the worker stops")
        return events

    def _offer(self, raw: KafkaMessage, jobs: dict[int, _Job], parcels: Parcels) -> int:
        error = raw.error()
        if error is not None and error.name() == "_PARTITION_EOF":
            # What lies between the last message and the end, such as a mark of a transaction, is no message. A broker that has just become the
            # leader of the partition may for a moment know an end that lies before what is to be read.
            number = raw.partition() or 0
            if number in jobs and (raw.offset() or 0) >= jobs[number].scan.stop:
                del jobs[number]
            return 0
        if error is not None:
            raise KafkaException(error)
        message = message_of(raw, self._route.events, self._route.events_id)
        job = jobs.get(message.partition)
        if job is None or message.offset >= job.scan.stop:
            return 0
        event = self._route.receive(message)
        if isinstance(event, Rejection):
            return 1
        for owner, offer in job.scan.asking.offers(event, self._route.partitions, sender_of(message.headers)):
            parcels.add(owner, 0, offer, len(event.data) + _SMALL)
        return 1

    def _close(self, consumer: Consumer, jobs: dict[int, _Job]) -> None:
        """Be done with scans that have come to their ends: by where the reader is, because the last offsets may hold no message."""
        parts = [TopicPartition(self._route.events, number) for number in jobs]
        for part in consumer.position(parts) if parts else ():
            if part.offset >= jobs[part.partition].scan.stop:
                del jobs[part.partition]

    def _send(self, producer: Producer, parcels: Parcels) -> None:
        failures: list[str] = []

        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                failures.append(str(error))

        for partition, value in parcels.take():
            producer.produce(self._route.commands, value, None, partition, on_delivery=delivered)
        if producer.flush(_DELIVERY_SECONDS) or failures:
            raise _ScanError(f"Kafka did not take what was to be offered: {failures[:1] or 'no answer'}")


def _partitions(producer: Producer, topic: str) -> int:
    return len(producer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic].partitions)
