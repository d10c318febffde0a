"""The independent checker: what must hold of everything that was observed, whatever was killed and when.

Each check yields one line for each thing that is wrong. `missing` is the one that time may still heal.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from tests.chaos.observed import TRIGGERS, Observed, Place
from tests.raw import Told

_INTERIM = frozenset({"delayed", "queued"})
_STEPS = {
    "single": {"work": "run"},
    "five": {"left": "run", "right": "run", "middle": "run", "tell": "send_event", "last": "run"},
    "echo": {"work": "run"},
    "flaky": {"before": "run", "nap": "sleep", "stumble": "run"},
    "blocking": {"before": "run", "nap": "sleep", "after": "run"},
    "slow": {"long": "run", "after": "run"},
    "flaky:on_failure": {"mourn": "run"},
}


def missing(seen: Observed) -> Iterator[str]:
    """What has not come to its end: events without disposition, runs without end, and what runs were to bring forth."""
    disposed = {(place, function) for place, function, _ in _final(seen)}
    for place, event in seen.events.items():
        if event is not None and (place, TRIGGERS[event["name"]]) not in disposed:
            yield f"event {place} has no final disposition: {event}"
    buried = {_origin(letter.headers) for letter in seen.dead}
    for place, event in seen.events.items():
        if event is None and place not in buried:
            yield f"message {place} is no event, and no dead letter"
    ended = {record["run_id"] for record in _of(seen, "RunEnded")}
    for record in _of(seen, "RunStarted"):
        if record["run_id"] not in ended:
            yield f"run {record['run_id']} of {record['function']} has not ended"
    for run, count in _offspring(seen).items():
        if count == 0:
            yield f"run {run} has ended, but not what it was to start"


def problems(seen: Observed) -> list[str]:
    """Return everything that is wrong."""
    checks = (missing, sent, dispositions, runs, offspring, steps, executions, keys, journals, dead_letters)
    return [f"{check.__name__}: {wrong}" for check in checks for wrong in check(seen)]


def sent(seen: Observed) -> Iterator[str]:
    """Kafka holds what was sent, and beside it only what steps sent."""
    for message in seen.sent:
        if (message.partition, message.offset) not in seen.events:
            yield f"{message} is not in the log"
    echoes = sum(event is not None and event["name"] == "load/echo" for event in seen.events.values())
    if len(seen.events) - echoes != len(seen.sent):
        yield f"{len(seen.events)} messages, {echoes} of them sent by steps; {len(seen.sent)} were sent from outside"


def dispositions(seen: Observed) -> Iterator[str]:
    """Every event has one final disposition for its function; of those with one id, one started."""
    counts = Counter((place, function) for place, function, _ in _final(seen))
    for (place, function), count in counts.items():
        event = seen.events.get(place)
        if event is None or TRIGGERS[event["name"]] != function:
            yield f"{function} was given {place}, which is {event}"
        if count > 1:
            yield f"event {place} has {count} final dispositions for {function}"
    started = Counter(
        event["id"]
        for place, _, disposition in _final(seen)
        if disposition == "started" and (event := seen.events.get(place)) is not None and "id" in event
    )
    ids = {event["id"] for event in seen.events.values() if event is not None and "id" in event}
    for id in ids:
        if started[id] != 1:
            yield f"event id {id} started {started[id]} runs"
    for place, function, disposition in _final(seen):
        if disposition not in {"started", "duplicate"}:
            yield f"event {place} was {disposition} for {function}"


def runs(seen: Observed) -> Iterator[str]:
    """Every run that ended had begun, each once, and came to what its function makes of its event."""
    started = {record["run_id"]: record for record in _of(seen, "RunStarted")}
    for kind in ("RunStarted", "RunEnded"):
        for run, count in Counter(record["run_id"] for record in _of(seen, kind)).items():
            if count > 1:
                yield f"run {run} has {count} records {kind}"
    for record in _of(seen, "RunEnded"):
        begun = started.get(record["run_id"])
        if begun is None:
            yield f"run {record['run_id']} ended without having begun"
            continue
        event = seen.events.get((begun["partition"], begun["offset"])) or {"data": {"n": 1}}
        fails = record["function"] == "flaky" and event["data"]["n"] % 5 == 0
        if record["status"] != ("failed" if fails else "completed"):
            yield f"run {record['run_id']} of {record['function']} is {record['status']}: {record['error']}"
        if record["function"] == "single" and record["result"] != str(event["data"]["n"]):
            yield f"run {record['run_id']} returned {record['result']} for {event}"


def offspring(seen: Observed) -> Iterator[str]:
    """What a run sends starts one run; so does its failure."""
    for run, count in _offspring(seen).items():
        if count > 1:
            yield f"run {run} has started {count} runs"


def steps(seen: Observed) -> Iterator[str]:
    """Every run recorded one outcome for each step of its function, and none after its end."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    over: set[str] = set()
    for record in seen.history:
        if record["schema"] == "RunEnded":
            over.add(record["run_id"])
        elif record["schema"] == "StepRecorded":
            if record["run_id"] in over:
                yield f"step {record['step_id']} of run {record['run_id']} was recorded after the run's end"
            if record["status"] in {"completed", "failed"}:
                outcomes[record["run_id"]][record["step_id"]] += 1
            if _STEPS[record["function"]].get(record["step_id"]) != record["kind"]:
                yield f"{record['function']} has no such step: {record}"
    for record in _of(seen, "RunEnded"):
        expected = Counter(dict.fromkeys(_STEPS[record["function"]], 1))
        if outcomes[record["run_id"]] != expected:
            yield f"run {record['run_id']} of {record['function']} recorded {dict(outcomes[record['run_id']])}"


def executions(seen: Observed) -> Iterator[str]:
    """No body ran again once its step's outcome was recorded, and none was recorded that did not run."""
    noted = defaultdict(list)
    for note in seen.notes:
        noted[note.run, note.step].append(note)
    for record in _of(seen, "StepRecorded"):
        if record["kind"] != "run":
            continue
        bodies = noted.get((record["run_id"], record["step_id"]), [])
        if not any(note.attempt == record["attempt"] and note.at <= record["at"] for note in bodies):
            yield f"step {record['step_id']} of run {record['run_id']} was recorded, but attempt {record['attempt']} never ran"
        if record["status"] in {"completed", "failed"}:
            # One that was paused just before a body began cannot know better; its result is refused, which `steps` sees.
            late = [note for note in bodies if note.at > record["at"] and note.pid not in seen.zombies]
            if late:
                yield f"step {record['step_id']} of run {record['run_id']} was recorded at {record['at']}, and ran again: {late}"


def keys(seen: Observed) -> Iterator[str]:
    """A step has one idempotency key in all its executions, and no other step has the same."""
    by_step: dict[tuple[str, str], set[str]] = defaultdict(set)
    by_key: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for note in seen.notes:
        by_step[note.run, note.step].add(note.key)
        by_key[note.key].add((note.run, note.step))
    for step, its_keys in by_step.items():
        if len(its_keys) > 1:
            yield f"step {step} ran with the keys {sorted(its_keys)}"
    for key, its_steps in by_key.items():
        if len(its_steps) > 1:
            yield f"the key {key} belongs to {sorted(its_steps)}"


def journals(seen: Observed) -> Iterator[str]:
    """History tells what journal records say that count, and nothing else: a deposed leader's have no effect."""
    told = Counter(tuple(int(part) for part in record["id"].split(".")[:3]) for record in seen.history)
    for partition, records in seen.journal.items():
        if [offset for offset, _ in records] != list(range(len(records))):
            yield f"journal {partition} was not read from its beginning to its end"
        for _, record in _counting(records):
            said = told.pop((partition, record[1], record[2]), 0)
            if said != len(record[8]):
                yield f"record {record[1:3]} of journal {partition} says {len(record[8])} things; history tells {said}"
    for place in told:
        yield f"history tells of the journal record {place}, which does not count"


def dead_letters(seen: Observed) -> Iterator[str]:
    """Every message that is no event is one dead letter, and no event is."""
    counts = Counter(_origin(letter.headers) for letter in seen.dead)
    for place, count in counts.items():
        if seen.events.get(place, {}) is not None:
            yield f"the dead letter of {place} is of an event, or of nothing"
        if count > 1:
            yield f"message {place} has {count} dead letters"


def figures(seen: Observed) -> dict[str, int]:
    """Return how much there was of everything."""
    bodies = Counter((note.run, note.step, note.attempt) for note in seen.notes)
    return {
        "messages sent": len(seen.sent),
        "messages in the log": len(seen.events),
        "runs": sum(1 for _ in _of(seen, "RunStarted")),
        "duplicates refused": sum(disposition == "duplicate" for _, _, disposition in _final(seen)),
        "steps recorded": sum(1 for _ in _of(seen, "StepRecorded")),
        "bodies executed": len(seen.notes),
        "bodies executed again": sum(count - 1 for count in bodies.values()),
        "history told again": seen.repeats,
        "elections": sum(record[0] == "elected" for _, record in _records(seen)),
        "journal records": sum(1 for _ in _records(seen)),
        "that do not count": sum(record[0] == "decided" for _, record in _records(seen))
        - sum(len(_counting(records)) for records in seen.journal.values()),
        "dead letters": len(seen.dead),
    }


def _of(seen: Observed, kind: str) -> Iterable[Told]:
    return (record for record in seen.history if record["schema"] == kind)


def _final(seen: Observed) -> Iterator[tuple[Place, str, str]]:
    for record in seen.history:
        if record["schema"] == "EventDisposed" and record["disposition"] not in _INTERIM:
            yield (record["partition"], record["offset"]), record["function"], record["disposition"]
        elif record["schema"] == "RunStarted" and record["of_run"] is None:
            yield (record["partition"], record["offset"]), record["function"], "started"


def _records(seen: Observed) -> Iterator[tuple[int, Any]]:
    return (entry for records in seen.journal.values() for entry in records)


def _counting(records: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Return the decisions that are in force: of the newest leader elected before them, and without a gap in its numbers."""
    epoch, number = -1, 0
    found = []
    for offset, record in records:
        if record[0] == "elected":
            epoch, number = offset, 0
        elif record[1:3] == [epoch, number + 1]:
            number += 1
            found.append((offset, record))
    return found


def _offspring(seen: Observed) -> dict[str, int]:
    """Return how many runs were started by each run that was to start one: by what it sent, or by its failure."""
    counts = {
        record["run_id"]: 0 for record in _of(seen, "RunEnded") if (record["function"], record["status"]) in _PARENTS
    }
    for record in _of(seen, "RunStarted"):
        event: dict[str, Any] = seen.events.get((record["partition"], record["offset"])) or {"data": {}}
        parent = record["of_run"] or event["data"].get("of")
        if parent in counts:
            counts[parent] += 1
    return counts


_PARENTS = {("five", "completed"), ("flaky", "failed")}


def _origin(headers: dict[str, str]) -> Place:
    return int(headers["partition"]), int(headers["offset"])
