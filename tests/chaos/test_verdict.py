"""The checker finds what it is there to find: each wrong put into a world in which all is well is named."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.load import Sent
from tests.chaos.observed import Note, Observed
from tests.chaos.verdict import missing, problems
from tests.raw import Record

Wrong = Callable[[Observed], Any]


def _event(name: str, **more: Any) -> dict[str, Any]:
    return {"name": f"load/{name}", "data": {"n": 1}, **more}


def _disposed(place: int, function: str, disposition: str, id: str) -> dict[str, Any]:
    return {
        "schema": "EventDisposed",
        "id": id,
        "function": function,
        "partition": 0,
        "offset": place,
        "disposition": disposition,
    }


class _World:
    """Three runs: of an event with an id, of one that sends an event, and of that; a repeat of the id, and a nonsense."""

    def __init__(self) -> None:
        self.journal: list[tuple[int, Any]] = [(0, ["elected", "worker", 0, 1])]
        self.history: list[dict[str, Any]] = []
        self.notes: list[Note] = []

    def tell(self, schema: str, **fields: Any) -> None:
        """Write something down, as one journal record says it."""
        number = len(self.journal)
        self.journal.append((number, ["decided", 0, number, 0, number * 10, None, [], [], ["it"]]))
        self.history.append({"schema": schema, "id": f"0.0.{number}.0", "at": number * 10, **fields})

    def run(self, run: str, function: str, place: int, steps: dict[str, str], result: str) -> None:
        """Let a run come to its end."""
        of = {"run_id": run, "function": function}
        self.tell("RunStarted", **of, partition=0, offset=place, of_run=None)
        for step, kind in steps.items():
            at = len(self.journal) * 10
            if kind == "run":
                self.notes.append(Note(run, step, 0, f"key of {run} {step}", 1, len(self.notes), at))
            self.tell("StepRecorded", **of, step_id=step, kind=kind, status="completed", attempt=0)
        self.tell("RunEnded", **of, status="completed", result=result, error=None)


@pytest.fixture
def seen() -> Observed:
    world = _World()
    world.run("one", "single", 0, {"work": "run"}, "1")
    five = {"left": "run", "right": "run", "middle": "run", "tell": "send_event", "last": "run"}
    world.run("two", "five", 1, five, "null")
    world.run("three", "echo", 2, {"work": "run"}, "null")
    world.tell("EventDisposed", function="single", partition=0, offset=3, disposition="duplicate")
    single = _event("single", id="x")
    echo = {"name": "load/echo", "data": {"n": 1, "of": "two"}}
    letter = Record(0, 0, 0, None, b"?", {"partition": "0", "offset": "4"})
    return Observed(
        {(0, 0): single, (0, 1): _event("five"), (0, 2): echo, (0, 3): single, (0, 4): None},
        world.history,
        {0: world.journal},
        [letter],
        world.notes,
        [Sent(0, offset, b"") for offset in (0, 1, 3, 4)],
    )


def _drop(seen: Observed, schema: str, **fields: Any) -> None:
    """Take a record out of history, and what said it out of the journal."""
    record = _find(seen, schema, **fields)
    seen.history.remove(record)
    number = int(record["id"].split(".")[2])
    seen.journal[0][number][1][8].clear()


def _repeat(seen: Observed, schema: str, **fields: Any) -> None:
    """Say something twice, in one journal record."""
    record = _find(seen, schema, **fields)
    seen.history.insert(seen.history.index(record) + 1, copy.deepcopy(record))
    seen.journal[0][int(record["id"].split(".")[2])][1][8].append("it")


def _find(seen: Observed, schema: str, **fields: Any) -> dict[str, Any]:
    return next(
        record
        for record in seen.history
        if record["schema"] == schema and all(record[name] == value for name, value in fields.items())
    )


def _again(seen: Observed, **changes: Any) -> None:
    seen.notes.append(seen.notes[0]._replace(number=99, **changes))


def test_a_good_world_is_good(seen: Observed) -> None:
    assert problems(seen) == []
    assert list(missing(seen)) == []


WRONGS: dict[str, tuple[Wrong, str]] = {
    "an event is lost": (lambda seen: seen.events.pop((0, 0)), "sent: "),
    "an event comes from nowhere": (lambda seen: seen.events.update({(0, 9): None}), "sent: 6 messages"),
    "an event is passed over": (lambda seen: _drop(seen, "EventDisposed"), "missing: event (0, 3) has no final"),
    "an event is disposed of twice": (lambda seen: _repeat(seen, "EventDisposed"), "event (0, 3) has 2 final"),
    "an id starts twice": (
        lambda seen: _find(seen, "EventDisposed").update(schema="RunStarted", run_id="four", of_run=None),
        "event id x started 2 runs",
    ),
    "a function gets another's event": (
        lambda seen: _find(seen, "RunStarted", function="echo").update(function="single"),
        "single was given (0, 2)",
    ),
    "an event is skipped": (
        lambda seen: _find(seen, "EventDisposed").update(disposition="skipped"),
        "event (0, 3) was skipped",
    ),
    "a run never ends": (lambda seen: _drop(seen, "RunEnded", run_id="one"), "missing: run one of single"),
    "a run ends twice": (lambda seen: _repeat(seen, "RunEnded", run_id="one"), "run one has 2 records RunEnded"),
    "a run ends that never began": (
        lambda seen: _find(seen, "RunEnded", run_id="one").update(run_id="four"),
        "run four ended without",
    ),
    "a run fails": (
        lambda seen: _find(seen, "RunEnded", run_id="one").update(status="failed"),
        "one of single is failed",
    ),
    "a result is wrong": (lambda seen: _find(seen, "RunEnded", run_id="one").update(result="2"), "run one returned 2"),
    "a sent event starts nothing": (
        lambda seen: seen.events.update({(0, 2): {"name": "load/echo", "data": {"of": "nobody"}}}),
        "missing: run two has ended, but not",
    ),
    "a sent event starts two runs": (
        lambda seen: seen.events.update({(0, 0): {"name": "load/single", "data": {"n": 1, "of": "two"}, "id": "x"}}),
        "offspring: run two has started 2 runs",
    ),
    "a result is recorded twice": (
        lambda seen: _repeat(seen, "StepRecorded", step_id="middle"),
        "steps: run two of five recorded",
    ),
    "a step is left out": (lambda seen: _drop(seen, "StepRecorded", step_id="tell"), "steps: run two of five recorded"),
    "a step is recorded too late": (
        lambda seen: seen.history.append(seen.history.pop(1)),
        "step work of run one was recorded after the run's end",
    ),
    "a recorded step runs again": (lambda seen: _again(seen, at=999), "executions: step work of run one"),
    "a step is recorded that never ran": (lambda seen: seen.notes.pop(), "attempt 0 never ran"),
    "a key changes": (lambda seen: _again(seen, key="another"), "keys: step ('one', 'work') ran with"),
    "two steps share a key": (lambda seen: _again(seen, run="two", step="left"), "keys: the key key of one work"),
    "history tells what does not count": (
        lambda seen: seen.journal[0].insert(3, (99, ["elected", "zombie", 0, 1])),
        "journals: history tells of the journal record (0, 0, 3), which does not count",
    ),
    "a part of a journal was not seen": (
        lambda seen: seen.journal[0].pop(),
        "journals: history tells of the journal record",
    ),
    "the beginning of a journal was not seen": (
        lambda seen: seen.journal[0].pop(0),
        "journals: journal 0 was not read from its beginning",
    ),
    "history keeps silent": (lambda seen: seen.journal[0][2][1][8].append("it"), "says 2 things; history tells 1"),
    "a dead letter is missing": (lambda seen: seen.dead.clear(), "missing: message (0, 4) is no event"),
    "a dead letter is doubled": (lambda seen: seen.dead.append(seen.dead[0]), "message (0, 4) has 2 dead letters"),
    "an event is a dead letter": (
        lambda seen: seen.dead.append(seen.dead[0]._replace(headers={"partition": "0", "offset": "0"})),
        "the dead letter of (0, 0) is of an event",
    ),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_a_wrong_is_named(seen: Observed, wrong: str) -> None:
    put_in, named = WRONGS[wrong]
    put_in(seen)
    assert any(named in problem for problem in problems(seen)), problems(seen)


def test_a_paused_worker_may_begin_what_it_was_granted(seen: Observed) -> None:
    _again(seen, at=999, pid=7)
    assert problems(seen) != []
    assert problems(seen._replace(zombies=frozenset({7}))) == []
