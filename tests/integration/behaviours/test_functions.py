"""Functions and their steps on a real broker."""

import asyncio
import itertools
import json
import time
from uuid import uuid4

import pytest

from stream_engine import Event, RunFailed
from stream_engine.core.identity import event_identity, home_partition
from tests.integration.behaviours.served import Here
from tests.raw import Follower, create_topic


def test_an_event_is_sent_exactly_once(served: Here) -> None:
    run, ids = served.run("send")
    [started] = served.told("RunStarted", function="receive", event_id=ids[0])
    assert served.result(started["run_id"]) == {"of": run, "marked": True}
    assert started["key"] == "the key"
    [event] = [event for event in served.events.to_end() if event.headers.get("stream-engine-sender") == run]
    assert json.loads(event.value or b"")["id"] == ids[0]


def test_messages_go_to_any_topic(served: Here) -> None:
    topic = f"elsewhere-{uuid4().hex[:8]}"
    create_topic(served.servers, topic, 1)
    run, _ = served.run("produce", {"topic": topic})
    with Follower(served.servers, topic) as follower:
        first, second = follower.until(lambda records: len(records) >= 2)
    assert (first.key, json.loads(first.value or b""), first.headers["h"]) == (b"k", {"a": 1}, "v")
    assert (second.key, second.value) == (b"k", None)
    assert first.headers["stream-engine-id"] != second.headers["stream-engine-id"]
    assert served.steps(run) == [("first", "completed", 0), ("second", "completed", 0)]


def test_a_message_to_a_topic_that_does_not_exist_is_a_failed_step(served: Here) -> None:
    topic = f"nowhere-{uuid4().hex[:8]}"
    handle = served.app.produce.start_sync({"topic": topic})
    with pytest.raises(
        RunFailed, match=f"NoTopicError: there is no topic '{topic}', and the cluster does not create it"
    ):
        handle.result(timeout="60s")
    assert served.steps(handle.run_id) == [("first", "retrying", 0), ("first", "retrying", 1), ("first", "failed", 2)]


def test_a_step_is_tried_again(served: Here) -> None:
    run, result = served.run("stumble")
    assert result == "attempt 2"
    assert served.steps(run) == [("stumble", "retrying", 0), ("stumble", "retrying", 1), ("stumble", "completed", 2)]


def test_the_failure_of_a_step_can_be_caught(served: Here) -> None:
    run, result = served.run("catch")
    assert result == ["ValueError", "attempt 2", "on we go"]
    assert served.steps(run)[-2:] == [("doomed", "failed", 2), ("then", "completed", 0)]


def test_a_failure_has_a_handler_wherever_that_lives(served: Here) -> None:
    """Handlers have partitions of their own; most get there by a command to another leader."""
    handles = [served.app.doom.start_sync({}) for _ in range(8)]
    for handle in handles:
        with pytest.raises(RunFailed, match="OSError: attempt 2"):
            handle.result(timeout="60s")
    homes = set()
    for handle in handles:
        [started] = served.told("RunStarted", function="doom:on_failure", of_run=handle.run_id)
        message, mourned = served.result(started["run_id"])
        assert message == f"run {handle.run_id} failed: OSError: attempt 2"
        assert mourned == started["run_id"]
        homes.add((handle.run_id.rpartition("-")[2], started["run_id"].rpartition("-")[2]))
    assert any(here != there for here, there in homes)


def test_a_body_is_executed_again(served: Here) -> None:
    run, result = served.run("insist")
    assert result == 2
    assert served.steps(run) == [("once", "completed", 0), ("last", "completed", 0)]
    changes = served.told("RunChanged", run_id=run, change="retrying")
    assert [change["attempt"] for change in changes] == [1, 2]


def test_some_errors_are_not_tried_again(served: Here) -> None:
    handle = served.app.hopeless.start_sync({})
    with pytest.raises(RunFailed, match="attempt 0") as raised:
        handle.result(timeout="60s")
    assert raised.value.type == "NonRetriableError"
    assert "failing" in raised.value.traceback
    assert served.steps(handle.run_id) == [("doomed", "failed", 0)]


def test_an_error_may_say_when_to_try_again(served: Here) -> None:
    run, result = served.run("patient")
    assert result == "now"
    [retrying] = served.told("StepRecorded", run_id=run, status="retrying")
    assert retrying["wake_at"] - retrying["at"] == 300


def test_a_result_that_is_too_large_is_its_steps_error(served: Here) -> None:
    run, result = served.run("bulky")
    assert "600,002 bytes" in result
    assert served.steps(run) == [("bulk", "failed", 0)]


def test_a_step_has_its_time(served: Here) -> None:
    _, result = served.run("hasty")
    assert result == "TimeoutError: step 'slow' took longer than 0.05 s"


@pytest.mark.parametrize("function", ["sleepy", "sleepy_thread"])
def test_a_function_may_sleep(served: Here, function: str) -> None:
    run, result = served.run(function)
    assert result == "ab"
    steps = [("before", "completed", 0), ("nap", "sleeping", 0), ("nap", "completed", 0), ("after", "completed", 0)]
    assert served.steps(run) == steps
    sleeping, slept = served.told("StepRecorded", 2, run_id=run, step_id="nap")
    assert slept["at"] >= sleeping["wake_at"]


def test_middleware_surrounds_runs_and_steps(served: Here) -> None:
    assert served.run("marked")[1] == "run(step(plain))"


def test_the_lifespan_is_shared(served: Here) -> None:
    assert served.run("shared")[1] == {"opened by": served.name}


def test_who_waits_may_lose_patience(served: Here) -> None:
    handle = served.app.wait.start_sync({"gate": "patience"})
    served.reached("patience")
    with pytest.raises(TimeoutError, match=rf"run {handle.run_id} has not ended within 100ms: it is running"):
        handle.result(timeout="100ms")
    assert handle.status() == "running"
    served.open("patience")
    assert handle.result(timeout="60s") == "patience"
    assert handle.status() == "completed"


def test_starting_is_for_coroutines_too(served: Here) -> None:
    async def start() -> tuple[str, str, str]:
        first = await served.app.greet.start({"n": 1}, id="same", key="k")
        again = await served.app.greet.start({"n": 1}, id="same", key="k")
        result = await first.result(timeout="60s")
        return first.run_id, again.run_id, f"{result['id']} {result['key']} {await again.status()}"

    first, again, said = asyncio.run(start())
    assert first == again
    assert said == "same k completed"
    assert len(served.told("RunStarted", run_id=first)) == 1


def test_a_start_can_be_delayed(served: Here) -> None:
    handle = served.app.greet.start_sync({}, delay="1s")
    assert handle.result(timeout="60s")["attempt"] == 0
    [delayed] = served.told("EventDisposed", run_id=handle.run_id)
    [started] = served.told("RunStarted", run_id=handle.run_id)
    assert delayed["disposition"] == "delayed"
    assert started["at"] >= int(delayed["detail"]) > delayed["at"]


def test_events_are_sent_from_anywhere(served: Here) -> None:
    given, place = served.app.engine.send_sync([Event("greet", {"n": 1}, id="mine"), Event("greet", {"n": 2})])
    assert given == "mine"
    assert place.startswith(f"{served.name}.events/")
    for id in (given, place):
        [started] = served.told("RunStarted", event_id=id)
        served.result(started["run_id"])


def test_code_that_blocks_the_loop_is_named_and_blocks_no_leader(served: Here) -> None:
    """Runs of all partitions are begun, and recorded, while no code of theirs can run."""
    blocking = served.app.block.start_sync({"gate": "blocked"})
    try:
        served.worker.said("the event loop has been blocked")
        begun_at = time.time_ns() // 1_000_000
        places = [served.send({"name": "greet", "id": id, "data": {}}) for id in _one_for_each_partition(4)]
        runs = set()
        for place in places:
            [started] = served.told("RunStarted", partition=place[0], offset=place[1])
            assert started["at"] >= begun_at
            runs.add(started["run_id"])
        assert {run.rpartition("-")[2] for run in runs} == {"0", "1", "2", "3"}
        assert served.told("RunEnded", 0, run_id=blocking.run_id) == []
    finally:
        # The other tests have the same worker.
        served.open("blocked")
    assert blocking.result(timeout="60s") is None
    assert f"function 'block', run {blocking.run_id}" in served.worker.talk
    for run in runs:
        served.result(run)


def _one_for_each_partition(partitions: int) -> list[str]:
    """Return ids of events that are at home in one partition each."""
    ids = (f"blocked-{number}" for number in itertools.count())
    homes: dict[int, str] = {}
    while len(homes) < partitions:
        id = next(ids)
        homes.setdefault(home_partition(event_identity(id, "", 0, 0), partitions), id)
    return [*homes.values()]
