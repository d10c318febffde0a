"""Watches the simulated world from outside, and objects to what an invariant forbids.

The numbers are those of the invariants in ARCHITECTURE.md. The referee sees every record as it lands and every act as it is
done, keeps a fold and a ledger of its own, and takes nothing from the simulated machines on trust.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Protocol

from stream_engine.core.partition.change import Told
from stream_engine.core.partition.turn import Effect, Execute
from stream_engine.core.records.chunks import Chunk, SnapshotId
from stream_engine.core.records.decoding import decode_state
from stream_engine.core.records.history import (
    CompletionDisposed,
    EventDisposed,
    HistoryRecord,
    RunChanged,
    RunEnded,
    RunStarted,
    StepRecorded,
)
from stream_engine.core.records.journal import Decided
from stream_engine.core.records.tables import FOLDED, FOLDED_KEY, RUNS, STEPS, Outgoing, Run, Step, encode
from stream_engine.core.routing.cause import cause_of
from tests.simulation.fold import NaiveFold
from tests.simulation.gatekeeper import Gatekeeper
from tests.simulation.gathering import Gathering
from tests.simulation.gathering_again import GatheringAgain, Times
from tests.simulation.kafka import SimKafka, Topics
from tests.simulation.programs import SimFunction
from tests.simulation.schedule import Host, Schedule
from tests.simulation.store import SimStore
from tests.simulation.term import Term


class ViolationError(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True)
class Execution:
    """One execution of a step's body, as the world outside saw it."""

    partition: int
    epoch: int
    run_id: str
    step_id: str
    attempt: int


class Overseer(Protocol):
    """Knows what operators were promised."""

    def began(self, told: RunStarted, leader: str, claimed_at: int) -> None:
        """Judge that a run begins, by the journal of a leader that claimed the partition then."""


class Referee:
    """Knows what really happened."""

    def __init__(self, schedule: Schedule, kafka: SimKafka, topics: Topics) -> None:
        self.schedule = schedule
        self.folds: dict[int, NaiveFold] = {}
        self.ledger: list[Execution] = []
        self.started: dict[str, RunStarted] = {}
        self.ended: dict[str, tuple[int, RunEnded]] = {}
        self.disposed: list[EventDisposed] = []
        self.settled: dict[tuple[str, str], tuple[int, StepRecorded]] = {}
        self.waits: dict[tuple[str, str], StepRecorded] = {}
        self.invoked: dict[tuple[str, str], StepRecorded] = {}
        self.open = {"wait": self.waits, "invoke": self.invoked}
        self.completions: dict[str, list[str]] = defaultdict(list)
        self._bodies: set[tuple[Execution, int]] = set()
        self._retries: dict[str, int] = {}
        self._races: dict[tuple[str, str], int] = {}
        self.operators: Overseer | None = None
        self.gatekeeper = Gatekeeper(self.object, {})
        self.gathering = self._gathering({})
        self._events = [kafka.log(topics.events, number) for number in range(kafka.partitions(topics.events))]
        for partition in range(kafka.partitions(topics.journal)):
            fold = NaiveFold(kafka.origin(topics, partition), self._counted)
            self.folds[partition] = fold
            kafka.log(topics.journal, partition).watch(fold.land)

    def watch_gates(self, functions: dict[str, SimFunction]) -> None:
        """Judge gates by what functions declare, from the beginning on."""
        self.gatekeeper = Gatekeeper(self.object, functions)
        self.gathering = self._gathering(functions)

    def _gathering(self, functions: dict[str, SimFunction]) -> Gathering:
        return Gathering(self.object, functions, self._event_at, GatheringAgain(self.object, self._times_of))

    def _times_of(self, place: tuple[int, int], replay_id: str) -> Times:
        """Return when an event is in a replay, of which it is whole, or one of whose runs has sent it."""
        ts, timestamp = self._event_at(place)
        cause = cause_of(self._events[place[0]].records[place[1]].headers)
        if cause is not None and cause.replay == replay_id:
            return Times(ts, timestamp, cause.moment + max(0, ts - timestamp))
        return Times(ts, timestamp, max(ts, timestamp))

    def _event_at(self, place: tuple[int, int]) -> tuple[int, int]:
        """Return the ``ts`` of an event, and its time on the log."""
        stored = self._events[place[0]].records[place[1]]
        ts = json.loads(stored.value or b"").get("ts")
        return stored.timestamp if ts is None else ts, stored.timestamp

    def object(self, invariant: int, text: str) -> None:
        """Object to something."""
        raise ViolationError(f"invariant {invariant}: {text}")

    def opened(self, host: Host, partition: int, store: SimStore) -> None:
        """A worker opens a store, which may be behind, but must be the fold of the journal at its place.

        One whose restoration was interrupted has no place.
        """
        if store.folded() is not None:
            self.wrote(host, partition, store)

    def wrote(self, host: Host, partition: int, store: SimStore) -> None:
        """A worker has written to its store."""
        folded = store.folded()
        data = {key: value for key, value in store.data.items() if key != FOLDED_KEY}
        if folded is None:
            if data:
                self.object(3, f"{host.name}/{partition}: a store without a place has {len(data)} entries")
            return
        snapshot = self.folds[partition].snapshots.get(folded.mark.offset)
        if snapshot is None or snapshot.folded != folded:
            self.object(3, f"{host.name}/{partition}: the store is at {folded}, where the journal has {snapshot}")
        elif snapshot.data != data:
            differ = {k for k in snapshot.data.keys() | data.keys() if snapshot.data.get(k) != data.get(k)}
            self.object(3, f"{host.name}/{partition} at {folded.mark}: differs from the fold in {sorted(differ)}")

    def mismatch(self, error: Exception) -> None:
        """A worker calls its store the fold of another log; here no log is ever made again or cut."""
        self.object(3, f"a mismatch without a cause: {error}")

    def suffices(self, kafka: SimKafka, topics: Topics, partition: int) -> None:
        """Object unless the topics alone, as they begin now, suffice to rebuild a partition, and all that they say is true."""
        journal, state = kafka.log(topics.journal, partition), kafka.log(topics.state, partition)
        chunks: dict[SnapshotId, dict[int, Chunk]] = defaultdict(dict)
        reaches = journal.start == 0
        for offset in range(state.start, state.end):
            record = decode_state(state.read(offset))
            if isinstance(record, Chunk):
                chunks[record.id][record.number] = record
            elif set(chunks[record.id]) == set(range(record.chunks)):
                folded = FOLDED.decode(record.folded)
                reaches = reaches or folded.journal >= journal.start
                entries = dict(entry for chunk in chunks[record.id].values() for entry in chunk.entries)
                known = self.folds[partition].snapshots.get(folded.mark.offset)
                if known is None or (known.folded, known.data) != (folded, entries):
                    self.object(
                        3, f"the snapshot {record.id} is not the fold of partition {partition} at {folded.mark}"
                    )
        if not reaches:
            self.object(3, f"partition {partition}: no snapshot reaches the start of the journal at {journal.start}")

    def sends(self, host: Host, partition: int, key: bytes, message: Outgoing) -> None:
        """A worker is about to send a message."""
        if self.folds[partition].posted.get(key) != encode(message):
            self.object(4, f"{host.name}/{partition} sends {key!r}, which no counted record posted")

    def tells(self, host: Host, partition: int, told: Told, name: str) -> None:
        """A worker is about to tell history."""
        record = self.folds[partition].counted.get(told.mark.offset)
        if record is None or (record.epoch, record.n) != (told.mark.epoch, told.mark.n):
            self.object(4, f"{host.name}/{partition} tells {name} of a record that does not count")
        elif record.history != told.records:
            self.object(3, f"{host.name}/{partition} tells {name} otherwise than the journal")

    def acts(self, host: Host, partition: int, offset: int, effect: Effect) -> None:
        """A worker is about to hand an effect to an execution."""
        if offset not in self.folds[partition].counted:
            self.object(4, f"{host.name}/{partition}: {effect} belongs to offset {offset}, which does not count")

    def executes(self, host: Host, running: int, places: int) -> None:
        """A worker executes so many runs, of so many that it may."""
        if running > places:
            self.object(5, f"{host.name} executes {running} runs, and may execute {places}")
        self.schedule.counts["all places taken"] += running == places

    def step_began(self, term: Term, effect: Execute, step_id: str, attempt: int) -> int:
        """The body of a step begins; return the number of this execution."""
        run_id = effect.run_id
        settled, ended = self.settled.get((run_id, step_id)), self.ended.get(run_id)
        if settled is not None and settled[0] <= term.epoch:
            self.object(2, f"epoch {term.epoch} begins {run_id}/{step_id}, whose result is in its fold: {settled}")
        if ended is not None and ended[0] <= term.epoch:
            self.object(2, f"epoch {term.epoch} begins {run_id}/{step_id} of a run that it knows to have ended")
        lent = self._lent(term.partition, run_id, step_id)
        if lent is not None and lent.wake_at > self.folds[term.partition].folded.now:
            self.object(2, f"epoch {term.epoch} begins {run_id}/{step_id}, which is lent until {lent.wake_at}")
        execution = Execution(term.partition, term.epoch, run_id, step_id, attempt)
        if (execution, effect.run.attempt) in self._bodies:
            self.object(2, f"{execution} begins twice in one term")
        self._bodies.add((execution, effect.run.attempt))
        if term.epoch != self.folds[term.partition].epoch:
            self.schedule.counts["step begun by a deposed leader"] += 1
        self.ledger.append(execution)
        self.schedule.note("step", term.host.name, f"epoch {term.epoch}", run_id, step_id, attempt)
        return len(self.ledger) - 1

    def step_delivered(self, run_id: str, step_id: str, step: Step) -> None:
        """A body is handed the outcome of a step: the same in every execution, on every machine."""
        known = self.settled.get((run_id, step_id))
        if known is None:
            self.object(4, f"{run_id}/{step_id} is delivered, and not recorded")
        else:
            recorded = known[1]
            result = None if step.result is None else step.result.decode()
            # That nobody completed a callback in time, only history calls an error.
            error = recorded.error if step.reason == "timeout" and step.kind == "callback" else step.error
            if (step.status, result, error) != (recorded.status, recorded.result, recorded.error):
                self.object(2, f"{run_id}/{step_id} is delivered as {step}, recorded as {recorded}")

    def race_won(self, run_id: str, race: str, winner: int) -> None:
        """A body saw which of its branches ended first."""
        if self._races.setdefault((run_id, race), winner) != winner:
            self.object(2, f"{run_id}: the race {race} is won by branch {winner}, which it was not before")

    def _counted(self, fold: NaiveFold, offset: int, record: Decided) -> None:
        if record.now < fold.folded.now:
            self.object(5, f"journal time goes back from {fold.folded.now} to {record.now} at {offset}")
        for key, value in record.puts:
            if key.startswith(RUNS.prefix):
                self._run_put(fold.data.get(key), RUNS.decode(value))
        for told in record.history:
            self._told(told, record.epoch)
            if isinstance(told, RunStarted) and self.operators is not None:
                self.operators.began(told, fold.leader, fold.claimed_at)
        self.gatekeeper.counted(fold, record, self.started.__contains__)
        self.gathering.counted(fold, record)

    def _run_put(self, before: bytes | None, run: Run) -> None:
        """History tells of a sleep by its step alone, so that a run is unloaded and loaded again shows only in the state."""
        slept = before is not None and RUNS.decode(before).status == "sleeping"
        self.schedule.counts["run unloaded"] += not slept and run.status == "sleeping"
        self.schedule.counts["run loaded again"] += slept and run.status == "running"

    def _told(self, told: HistoryRecord, epoch: int) -> None:
        if isinstance(told, RunStarted):
            if told.run_id in self.started or told.run_id in self.ended:
                self.object(1, f"{told.run_id} starts twice, or after its end")
            self.started[told.run_id] = told
        elif isinstance(told, RunEnded):
            if told.run_id in self.ended or (told.run_id not in self.started and told.status != "timed_out"):
                self.object(1, f"{told.run_id} ends twice, or without a start")
            self.ended[told.run_id] = (epoch, told)
        elif isinstance(told, EventDisposed):
            self.disposed.append(told)
        elif isinstance(told, RunChanged):
            self._changed(told)
        elif isinstance(told, CompletionDisposed):
            self.schedule.counts[f"completion {told.disposition}"] += 1
            self.completions[told.completion_id].append(told.disposition)
        else:
            self._step_told(told, epoch)

    def _step_told(self, told: StepRecorded, epoch: int) -> None:
        if told.kind in self.open and told.status == "waiting":
            self.open[told.kind][told.run_id, told.step_id] = told
        elif told.status in {"completed", "failed"}:
            self._settled(told, epoch)
        elif told.status == "interrupted":
            self.schedule.counts["step interrupted"] += 1
            if (told.run_id, told.step_id) in self.settled or told.run_id in self.ended:
                self.object(2, f"{told.run_id}/{told.step_id} is interrupted after its result, or the end of its run")

    def _changed(self, told: RunChanged) -> None:
        self.schedule.counts[f"run {told.change}"] += 1
        if told.change == "retrying":
            assert told.wake_at is not None
            self._retries[told.run_id] = told.wake_at
        elif told.change == "running" and told.at < self._retries.get(told.run_id, 0):
            self.object(5, f"{told.run_id} goes on at {told.at}, before its retry at {self._retries[told.run_id]}")

    def _settled(self, told: StepRecorded, epoch: int) -> None:
        step = (told.run_id, told.step_id)
        if step in self.settled:
            self.object(2, f"{step} has a second result: {told} after {self.settled[step]}")
        if told.run_id in self.ended:
            self.object(2, f"{step} has a result after the end of its run")
        self.settled[step] = (epoch, told)
        if told.kind == "run" and told.status == "completed":
            result: dict[str, Any] = json.loads(told.result or "")
            execution = self.ledger[result["execution"]]
            lent = self._lent(execution.partition, *step)
            if lent is not None and lent.attempt == execution.attempt:
                self.schedule.counts["lent step recorded"] += 1
            elif (execution.epoch, execution.run_id, execution.step_id) != (epoch, *step):
                self.object(2, f"{step} has in epoch {epoch} the result of {execution}")

    def _lent(self, partition: int, run_id: str, step_id: str) -> Step | None:
        raw = self.folds[partition].data.get(STEPS.key(run_id, step_id))
        step = None if raw is None else STEPS.decode(raw)
        return step if step is not None and step.status == "lent" else None
