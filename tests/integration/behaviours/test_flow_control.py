"""Limits on a real broker with two workers, one of which is killed: measured by the functions themselves, and from history."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stream_engine.core.views.runs import ENDED
from tests.integration.behaviours.deploys import Deploys
from tests.raw import Told
from tests.workers import until

EVENTS = 60
KEYS = ("red", "green", "blue")
FUNCTIONS = (
    *(
        "two-at-a-time",
        "three-of-all",
        "five-a-second",
        "three-a-minute",
        "gathered",
        "quiet",
        "alone",
        "left",
        "right",
    ),
    *("two-limits", "awake", "in-turn", "four-in-two-seconds", "skipping", "once", "all-of-them", "small"),
)
INTERIM = {"queued", "delayed"}


class World(NamedTuple):
    """What was sent (by place: the event's key), what history told of it, and what the functions wrote down."""

    sent: dict[tuple[int, int], str]
    started: list[Told]
    ended: list[Told]
    disposed: list[Told]
    notes: list[list[str]]
    killed_at: int


@pytest.fixture(scope="module")
def world(broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Sixty events on three keys while one of two workers is killed, and all that comes of them."""
    folder = tmp_path_factory.mktemp("limited")
    with Deploys(broker, folder, "limited.py") as deploys:
        workers = [deploys.workers.start() for _ in range(2)]
        for worker in workers:
            worker.ready()
        sent: dict[tuple[int, int], str] = {}
        for number in range(EVENTS):
            key = KEYS[number % 3]
            place = deploys.served.send({"name": "limited", "data": {"key": key, "n": number}})
            sent[place] = key
            if number == EVENTS // 2:
                _noted(folder, "begin", 10)
                workers[0].kill()
        deploys.workers.start().ready()
        served = deploys.served

        def all_over() -> bool:
            served.listen()
            final = _finals(served.told("RunStarted", 0), served.told("EventDisposed", 0))
            runs = {record["run_id"] for record in served.told("RunStarted", 0)}
            over = {record["run_id"] for record in served.told("RunEnded", 0)}
            return len(final) == EVENTS * len(FUNCTIONS) and runs == over

        until(all_over, "every event has its dispositions, and every run has ended", 120)
        yield World(
            sent,
            served.told("RunStarted", 0),
            served.told("RunEnded", 0),
            served.told("EventDisposed", 0),
            _notes(folder),
            workers[0].pid,
        )


def _noted(folder: Path, word: str, count: int) -> None:
    until(lambda: sum(line[0] == word for line in _notes(folder)) >= count, f"{count} functions {word}")


def _notes(folder: Path) -> list[list[str]]:
    file = folder / "notes"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def _finals(started: list[Told], disposed: list[Told]) -> Counter[tuple[str, int, int]]:
    finals = [*started, *(record for record in disposed if record["disposition"] not in INTERIM)]
    return Counter((record["function"], record["partition"], record["offset"]) for record in finals)


def _most_at_once(spans: list[tuple[int, int]]) -> int:
    """Return how many spans overlap at most; one that begins at the moment at which another ends does not overlap it."""
    moments = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans], key=lambda m: (m[0], m[1]))
    now = most = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def _spans(world: World, function: str) -> dict[str, list[tuple[int, int]]]:
    """Return from when to when runs went on, by key, as history tells."""
    ends = {record["run_id"]: record["at"] for record in world.ended}
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for run in world.started:
        if run["function"] == function:
            found[world.sent[run["partition"], run["offset"]]].append((run["at"], ends[run["run_id"]]))
    return found


def test_every_event_has_one_final_disposition_for_each_function(world: World) -> None:
    finals = _finals(world.started, world.disposed)
    assert set(finals.values()) == {1}
    assert Counter(function for function, _, _ in finals) == dict.fromkeys(FUNCTIONS, EVENTS)
    assert all(record["status"] in ENDED for record in world.ended)


def test_no_more_than_the_limit_go_on_at_a_time(world: World) -> None:
    assert {key: _most_at_once(spans) for key, spans in _spans(world, "two-at-a-time").items()} == dict.fromkeys(
        KEYS, 2
    )
    everywhere = [span for spans in _spans(world, "three-of-all").values() for span in spans]
    assert _most_at_once(everywhere) == 3


SEEN = [
    ("two-at-a-time", 2),
    ("three-of-all", 3),
    ("alone", 1),
    ("pair", 2),
    ("two-limits", 1),
    ("awake", 1),
    ("in-turn", 1),
    ("skipping", 1),
]


@pytest.mark.parametrize(("function", "limit"), SEEN)
def test_the_functions_themselves_see_no_more(world: World, function: str, limit: int) -> None:
    """But for bodies of the worker that was killed, which nobody saw end."""
    begun: dict[tuple[str, str], list[int]] = defaultdict(list)
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for word, name, key, at, pid in world.notes:
        if name != function:
            continue
        if word == "begin":
            begun[key, pid].append(int(at))
        else:
            spans[key].append((begun[key, pid].pop(0), int(at)))
    assert spans
    assert all(_most_at_once(found) <= limit for found in spans.values())


def test_no_second_holds_more_starts_than_the_throttle_allows(world: World) -> None:
    for key, spans in _spans(world, "five-a-second").items():
        starts = sorted(begin for begin, _ in spans)
        assert len(starts) == EVENTS // 3, key
        assert all(later - earlier >= 1_000 for earlier, later in zip(starts, starts[5:], strict=False)), (key, starts)


def test_the_rate_limit_lets_three_of_each_key_through(world: World) -> None:
    assert {key: len(spans) for key, spans in _spans(world, "three-a-minute").items()} == dict.fromkeys(KEYS, 3)
    dropped = [record for record in world.disposed if record["function"] == "three-a-minute"]
    assert Counter(record["disposition"] for record in dropped) == {"rate-limited": EVENTS - 9}


def test_every_event_is_in_one_batch(world: World) -> None:
    results = [record["result"] for record in world.ended if record["function"] == "gathered"]
    batches = [[int(n) for n in result.strip("[]").split(",")] for result in results]
    assert sorted(n for batch in batches for n in batch) == list(range(EVENTS))
    assert max(map(len, batches)) == 7
    assert all(len({n % 3 for n in batch}) == 1 for batch in batches)


def test_the_latest_event_is_among_what_was_quiet_for_a_second(world: World) -> None:
    results = [int(record["result"]) for record in world.ended if record["function"] == "quiet"]
    assert {EVENTS - 3, EVENTS - 2, EVENTS - 1} <= set(results)


def test_the_newest_run_is_not_cancelled(world: World) -> None:
    ended = [record for record in world.ended if record["function"] == "alone"]
    assert {record["status"] for record in ended} <= {"completed", "cancelled"}
    assert sum(record["status"] == "completed" for record in ended) >= 3


def test_a_pool_and_a_second_limit_are_shared_by_all(world: World) -> None:
    pair = [span for name in ("left", "right") for spans in _spans(world, name).values() for span in spans]
    assert _most_at_once(pair) == 2
    two = _spans(world, "two-limits")
    assert all(_most_at_once(spans) == 1 for spans in two.values())
    assert _most_at_once([span for spans in two.values() for span in spans]) == 2


def test_a_released_slot_is_used_by_others_meanwhile(world: World) -> None:
    """The functions have seen one at a time; the runs go on at the same time all the same."""
    assert all(_most_at_once(spans) > 1 for spans in _spans(world, "awake").values())
    awake = [record for record in world.ended if record["function"] == "awake"]
    assert Counter(record["status"] for record in awake) == {"completed": EVENTS}


def test_those_of_one_key_start_in_turn(world: World) -> None:
    """Keyed runs live where their gate does, so the order of one journal says who waited when another one started."""
    places = {run["run_id"]: _place(run) for run in world.started if run["function"] == "in-turn"}
    waits = [told for told in world.disposed if told["function"] == "in-turn" and told["gate"] == "concurrency"]
    order = {told["run_id"]: (told["order"], told["partition"], told["offset"]) for told in waits}
    assert len(order) > EVENTS // 2
    for told in waits:
        for run_id, began in places.items():
            jumps = _place(told) < began < places[told["run_id"]] and began[0] == _place(told)[0]
            same = world.sent[told["partition"], told["offset"]] == _key_of(world, run_id)
            assert not (jumps and same) or (run_id in order and order[run_id] < order[told["run_id"]]), (run_id, told)
    favoured = {run_id: at for run_id, (at, _, _) in order.items()}
    assert min(favoured.values()) < max(favoured.values()) - 200_000


def _place(told: Told) -> list[int]:
    return [int(part) for part in told["id"].split(".")]


def _key_of(world: World, run_id: str) -> str:
    return next(world.sent[run["partition"], run["offset"]] for run in world.started if run["run_id"] == run_id)


def test_no_two_seconds_hold_more_starts_than_limit_and_burst(world: World) -> None:
    """Its gate has an owner elsewhere: history's times are those of the runs' homes, and the same machine has one clock."""
    spans = [span for found in _spans(world, "four-in-two-seconds").values() for span in found]
    starts = sorted(begin for begin, _ in spans)
    assert len(starts) == EVENTS
    # The owner lets the fifth through two seconds after it has heard of the first, which was after that one's start.
    assert all(later - earlier >= 2_000 for earlier, later in zip(starts, starts[4:], strict=False))


def test_what_comes_while_another_runs_is_skipped(world: World) -> None:
    spans = _spans(world, "skipping")
    assert all(_most_at_once(found) == 1 for found in spans.values())
    skipped = Counter(record["disposition"] for record in world.disposed if record["function"] == "skipping")
    assert skipped["skipped"] == EVENTS - sum(map(len, spans.values())) > 0


def test_a_value_has_one_run(world: World) -> None:
    assert {key: len(spans) for key, spans in _spans(world, "once").items()} == dict.fromkeys(KEYS, 1)


def test_a_debounce_that_keeps_all_hands_over_each_event_once_and_waits_no_longer_than_it_may(world: World) -> None:
    results = [json.loads(record["result"]) for record in world.ended if record["function"] == "all-of-them"]
    assert sorted(n for result in results for n in result) == list(range(EVENTS))
    assert all(len({n % 3 for n in result}) == 1 for result in results)


def test_a_batch_is_full_by_its_bytes_and_takes_only_what_it_wants(world: World) -> None:
    results = [json.loads(record["result"]) for record in world.ended if record["function"] == "small"]
    assert sorted(n for result in results for n, _ in result) == list(range(EVENTS))
    assert all(sum(size for _, size in result) <= 100 for result in results)
    assert max(map(len, results)) == 4
    assert all(len(result) == 1 for result in results if any(n % 10 == 0 for n, _ in result))
