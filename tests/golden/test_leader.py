"""What passes between a leader and its shell, scenario by scenario, as text to read.

``STREAM_ENGINE_TEST_REWRITE=1`` writes the transcripts anew; look at the difference before you commit it.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_engine.core.failure import Failure
from stream_engine.core.partition.outbox import topic_queue
from stream_engine.core.partition.turn import Function
from stream_engine.core.records.tables import Outgoing
from stream_engine.core.stages.commands import (
    FailRun,
    FailStep,
    FinishRun,
    RecordStep,
    RetryRun,
    Sleep,
    Suspend,
)
from tests.golden.leader_bench import Bench, routed

_TRANSCRIPTS = Path(__file__).parent / "leader"
_AWAY = Failure("ConnectionError", "the gateway is away")


def a_run_from_its_event_to_its_end(bench: Bench) -> None:
    bench.say("A worker takes the lead of an empty journal.")
    leader = bench.elect("w1", 1_000)
    bench.say("An event arrives: its run begins, once the record is acknowledged.")
    bench.step("w1", leader, 1_010, routed(0, 5))
    bench.say("Its step is done, and then its body.")
    bench.step("w1", leader, 1_020, RecordStep(bench.run_id, "charge", 0, 1_012, b"42"))
    bench.step("w1", leader, 1_030, FinishRun(bench.run_id, b'"paid"'))
    bench.say("History has acknowledged everything: one record says so, and then the partition is silent.")
    leader.told(leader._folded.mark)
    bench.step("w1", leader, 1_040)
    leader.told(leader._folded.mark)
    bench.step("w1", leader, 1_050)


def a_step_is_tried_again_and_fails_for_good(bench: Bench) -> None:
    leader = bench.elect("w1", 1_000)
    bench.step("w1", leader, 1_010, routed(0, 8))
    run = bench.run_id
    bench.say("The step raises; it is tried again after 100 ms.")
    bench.step("w1", leader, 1_020, FailStep(run, "charge", 0, 1_011, _AWAY, 100))
    bench.step("w1", leader, 1_119)
    bench.step("w1", leader, 1_120)
    bench.say(
        "It raises for the last time, and the body lets it through. The handler's run lives on the other partition."
    )
    bench.step("w1", leader, 1_130, FailStep(run, "charge", 1, 1_121, _AWAY))
    committed = bench.step("w1", leader, 1_140, FailRun(run, _AWAY))
    bench.say("The other partition's commands topic has acknowledged the command.")
    assert committed is not None
    for key, _ in committed.sends:
        leader.sent(key)
    bench.step("w1", leader, 1_150)


def a_sleep_outlives_the_execution(bench: Bench) -> None:
    leader = bench.elect("w1", 1_000)
    bench.step("w1", leader, 1_010, routed(0, 5))
    run = bench.run_id
    bench.step("w1", leader, 1_020, Sleep(run, "cool-down", 60_000))
    bench.say("The execution has nothing else to wait for, and is unloaded.")
    bench.step("w1", leader, 1_030, Suspend(run, 0))
    bench.say("The sleep is over: the run is executed again, and told.")
    bench.step("w1", leader, 61_020)
    bench.say("A wish to be unloaded that is out of date by then is passed over.")
    bench.step("w1", leader, 61_030, Suspend(run, 0))


def another_worker_takes_over(bench: Bench) -> None:
    first = bench.elect("w1", 1_000)
    bench.step("w1", first, 1_010, routed(0, 5))
    run = bench.run_id
    sends = ((topic_queue("events"), Outgoing("events", 0, None, b'{"name":"order/paid"}')),)
    bench.step("w1", first, 1_020, RecordStep(run, "announce", 0, 1_015, b"null", "send_event", sends))
    bench.say("Nobody has acknowledged the message, nor history. Another worker, whose store is empty, takes over.")
    second = bench.elect("w2", 900)
    bench.say("Its clock is behind; journal time does not go back. The run is executed again with what is recorded.")
    bench.step("w2", second, 910)
    bench.say("The first does not know yet. What it decides does not count, and it finds out by the offset.")
    bench.step("w1", first, 1_030, RecordStep(run, "charge", 0, 1_021, b"41"))
    bench.say(
        "That record took the second's place in the log, so the second is deposed as well, and claims the lead again."
    )
    raw = bench.decide(second, 1_040, RecordStep(run, "charge", 0, 1_031, b"42"))
    assert raw is not None
    bench.acknowledge("w2", second, bench.append(raw))
    bench.elect("w2", 1_050)


def an_acknowledgement_is_lost(bench: Bench) -> None:
    leader = bench.elect("w1", 1_000)
    bench.say("The record lands, and the report says that it did not: nothing takes effect.")
    raw = bench.decide(leader, 1_010, routed(0, 5))
    assert raw is not None
    bench.append(raw)
    bench.acknowledge("w1", leader, None)
    bench.say("The next term finds it in the log: it counts, and takes effect now.")
    again = bench.elect("w1", 1_020)
    bench.step("w1", again, 1_030)


def a_command_comes_more_than_once(bench: Bench) -> None:
    leader = bench.elect("w1", 1_000)
    bench.step("w1", leader, 1_010, routed(0, 5, 9))
    bench.say("A router that crashed repeats itself: what was seen is passed over, what was not is taken.")
    bench.step("w1", leader, 1_020, routed(1, 5, 7, 9))
    bench.say("Everything below 9 is known to have arrived; a late repeat of 7 is passed over by that alone.")
    bench.step("w1", leader, 1_030, routed(2, 9, floor=9), routed(3, 7))
    bench.say("Another event with the id of one whose run goes on is a duplicate.")
    bench.step("w1", leader, 1_040, routed(4, 20, event_id="order-1"), routed(5, 21, event_id="order-1"))
    bench.say("A record of the commands topic that was taken before, or that nobody can read, changes nothing.")
    bench.step("w1", leader, 1_050, routed(5, 30))


def a_body_fails_and_is_executed_again(bench: Bench) -> None:
    leader = bench.elect("w1", 1_000)
    bench.say("An event of the future waits for its time.")
    bench.step("w1", leader, 1_010, routed(0, 5, ts=2_000))
    bench.step("w1", leader, 2_000)
    run = bench.run_id
    bench.step("w1", leader, 2_010, Sleep(run, "nap", 50), RecordStep(run, "load", 0, 2_005, b"1"))
    bench.say("The body raises outside its steps, and is tried again after a second.")
    bench.step("w1", leader, 2_020, RetryRun(run, 1_000, _AWAY))
    bench.say("The nap ends meanwhile; the body still waits.")
    bench.step("w1", leader, 2_060)
    bench.step("w1", leader, 3_020)


def a_function_is_missing(bench: Bench) -> None:
    leader = bench.elect("w1", 1_000, functions=[Function("other", ("1",))])
    bench.say("The app has no such function here: the run is parked, and not lost.")
    bench.step("w1", leader, 1_010, routed(0, 5))
    bench.say("A worker that has the function takes over.")
    second = bench.elect("w2", 1_020)
    bench.step("w2", second, 1_030)
    bench.say("A newer deployment has only version 2: the run goes on with that, and history says so.")
    third = bench.elect("w3", 1_040, functions=[Function("pay", ("2",))])
    bench.step("w3", third, 1_050)


def runs_wait_for_room(bench: Bench) -> None:
    bench.places = 2
    leader = bench.elect("w1", 1_000)
    bench.say("Two runs may be executed at a time; the third waits.")
    bench.step("w1", leader, 1_010, routed(0, 5, 6, 7))
    third = bench.run_id
    bench.step("w1", leader, 1_020, Sleep(third, "nap", 50))
    bench.step("w1", leader, 1_030, Suspend(third, 0))
    bench.say("Its place is free; that was not known before the record counted.")
    bench.step("w1", leader, 1_040)
    bench.say("The nap ends, and there is no room.")
    bench.step("w1", leader, 1_080)
    bench.decide(leader, 1_090)
    bench.say("A worker takes over that may execute one run at a time: of the three, two wait.")
    bench.places = 1
    second = bench.elect("w2", 1_100)
    bench.step("w2", second, 1_110)
    bench.say("A place that becomes free goes to the run that was admitted first.")
    bench.step("w2", second, 1_120, FinishRun(bench.run_id, b'"done"'))
    bench.step("w2", second, 1_130)


SCENARIOS = (
    a_run_from_its_event_to_its_end,
    a_step_is_tried_again_and_fails_for_good,
    a_sleep_outlives_the_execution,
    another_worker_takes_over,
    an_acknowledgement_is_lost,
    a_command_comes_more_than_once,
    a_body_fails_and_is_executed_again,
    a_function_is_missing,
    runs_wait_for_room,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_transcript(scenario: Callable[[Bench], None]) -> None:
    """The seam is used as it was when somebody last read the transcript."""
    bench = Bench()
    scenario(bench)
    path = _TRANSCRIPTS / f"{scenario.__name__.replace('_', '-')}.txt"
    if os.environ.get("STREAM_ENGINE_TEST_REWRITE"):
        path.write_text(bench.text())
    assert bench.text() == path.read_text()


def test_every_transcript_has_its_scenario() -> None:
    """A file that nothing compares with would say what is no longer so."""
    named = {f"{scenario.__name__.replace('_', '-')}.txt" for scenario in SCENARIOS}
    assert {path.name for path in _TRANSCRIPTS.iterdir()} == named
