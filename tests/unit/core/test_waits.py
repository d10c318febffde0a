"""Where events come together with who waits for them: what is answered, when, and with which event."""

import msgspec
import pytest
from msgspec.structs import replace

from stream_engine.core.identity import home_partition
from stream_engine.core.partition.turn import FULL_BYTES, Execute, Function
from stream_engine.core.records.history import EventDisposed, RunEnded, StepRecorded
from stream_engine.core.records.journal import Gate
from stream_engine.core.records.requests import Admit, Asked, Cancel, Commands, Entry, Pass
from stream_engine.core.records.tables import RUNS
from stream_engine.core.records.wait_tables import HELD_BACK, INTERESTS, OFFERED, WAITERS
from stream_engine.core.records.wanted import Await, Canceller, Offer, Offering, Sender, Wanted, Withdraw
from stream_engine.core.stages.commands import FinishRun, Stopped, WaitForEvent
from stream_engine.core.waits.interests import before, interest_of, place, slot
from tests.unit.core.network import Network
from tests.unit.core.waiting import (
    DAY,
    LANES,
    PAID,
    TRIGGER,
    answers,
    begin,
    covered,
    network,
    offer,
    paid,
    wait,
)


def test_nothing_is_answered_before_all_lanes_have_offered_and_then_the_earliest() -> None:
    app = network()
    wait(app, begin(app))
    app.give(0, offer(paid(7, 1_005)))
    covered(app, PAID, 0)
    assert answers(app) == {}
    app.give(0, offer(paid(9, 1_004, 1)))
    covered(app, PAID, 1)
    assert answers(app) == {"paid": 9}


def test_a_partition_asks_once_for_waits_of_one_interest_and_reaches_further_than_is_needed() -> None:
    app = network()
    app.now = 1_000_000
    run = begin(app)
    for step in ("a", "b"):
        wait(app, run, step, Wanted("paid", "data.x", f'"{step}"'))
    [asked] = app.produced
    assert asked.value is not None
    request = msgspec.json.decode(asked.value)
    assert (request["name"], request["path"], request["since"], request["keep"]) == ("paid", "data.x", 0, DAY)


def test_an_event_that_comes_late_behind_a_newer_one_is_for_the_next_wait() -> None:
    app = network()
    run = begin(app)
    wait(app, run, "first")
    covered(app)
    app.give(0, offer(paid(7, 1_005)))
    app.settle()
    app.give(0, offer(paid(3, 1_002, 1)))
    app.settle()
    wait(app, run, "second")
    assert answers(app) == {"first": 7, "second": 3}


def test_an_event_that_comes_late_is_not_passed_over_by_who_has_had_all_that_was_there() -> None:
    app = network()
    run = begin(app)
    wait(app, run, "first")
    covered(app)
    app.give(0, offer(paid(7, 1_005)), offer(paid(8, 1_006)))
    app.settle()
    wait(app, run, "second")
    app.give(0, offer(paid(3, 1_002, 1)), offer(paid(9, 1_007)))
    app.settle()
    for step in ("third", "fourth"):
        wait(app, run, step)
    assert answers(app) == {"first": 7, "second": 8, "third": 3, "fourth": 9}


def test_a_run_that_was_taken_over_knows_what_it_has_had() -> None:
    app = network()
    run = begin(app)
    wait(app, run, "first")
    covered(app)
    app.give(0, offer(paid(7, 1_005)))
    app.settle()
    app.take_over(0)
    app.settle()
    wait(app, run, "second")
    app.give(0, offer(paid(8, 1_006)))
    app.settle()
    assert answers(app) == {"first": 7, "second": 8}


def test_an_event_that_thousands_wait_for_and_a_wait_with_thousands_of_events() -> None:
    app = network()
    run = begin(app)
    wait(app, run, "0")
    covered(app)
    for number in range(1, 300):
        app.post(0, WaitForEvent(run, str(number), PAID, None, DAY))
    app.settle()
    for offset in range(300):
        app.give(0, offer(paid(offset + 10, 1_010 + offset)))
    app.settle()
    assert sorted(offset or 0 for offset in answers(app).values()) == list(range(10, 310))
    picky = Wanted("paid", "data.x", "1", "async_event.data.n == 7")
    app.give(0, offer(paid(5_000, 9_000, n=7)))
    app.settle()
    wait(app, run, "picky", picky)
    assert answers(app)["picky"] == 5_000
    assert max(app.sizes) < 4 * 1024 * 1024


@pytest.mark.parametrize("is_first", [True, False])
def test_what_a_run_has_of_many_waits_for_one_value_costs_the_same_for_each(is_first: bool) -> None:
    costs = [_cost_of_many(count, is_first=is_first) for count in (50, 250)]
    commands, size = (after / before for before, after in zip(*costs, strict=True))
    assert commands < 6
    assert size < 6


def _cost_of_many(count: int, *, is_first: bool) -> tuple[int, int]:
    """Return how many commands, and bytes of journals, as many waits of one run take as there are events, which come before or after they are asked for."""
    app = Network(2, Function("f", ("1",)))
    wanted = next(one for one in (Wanted("paid", "data.x", str(n)) for n in range(9)) if home_partition(slot(one), 2))
    run = begin(app)
    events = [offer(paid(offset, 1_010 + offset), wanted) for offset in range(count)]
    wait(app, run, "first", wanted)
    _covered_where_it_is(app, wanted)
    app.sizes.clear()
    before = app.commands
    if is_first:
        app.arrive(1, Commands("", None, [(0, event) for event in events]))
        app.settle()
    for number in range(1, count):
        app.post(0, WaitForEvent(run, str(number), wanted, None, DAY))
    app.settle()
    if not is_first:
        app.arrive(1, Commands("", None, [(0, event) for event in events]))
        app.settle()
    assert sorted(answers(app).values(), key=str) == sorted(range(count), key=str)
    return app.commands - before, sum(app.sizes)


def test_what_a_run_has_had_by_another_field_is_not_had_again_and_is_told_at_once_of_many() -> None:
    app = Network(2, Function("f", ("1",)))
    run, by_name = begin(app), Wanted("paid")
    for wanted, step in ((PAID, "0"), (by_name, "other")):
        wait(app, run, step, wanted)
        _covered_where_it_is(app, wanted)
    for event in (paid(offset, 1_010 + offset) for offset in range(60)):
        app.give(home_partition(slot(PAID), 2), offer(event))
    app.settle()
    for number in range(1, 50):
        wait(app, run, str(number))
    before = app.commands
    events = [offer(paid(offset, 1_010 + offset), by_name) for offset in range(60)]
    app.arrive(home_partition(slot(by_name), 2), Commands("", None, [(0, event) for event in events]))
    app.settle()
    assert answers(app) == {**{str(number): number for number in range(50)}, "other": 50}
    assert app.commands - before < 60 + 5
    app.take_over(0)
    app.take_over(1)
    app.settle()
    wait(app, run, "last", by_name)
    wait(app, run, "after")
    assert (answers(app)["last"], answers(app)["after"]) == (51, 52)


def _covered_where_it_is(app: Network, wanted: Wanted) -> None:
    for lane in (0, 1):
        told = Offering(interest_of(wanted.name, wanted.path), "shop.events", lane, LANES, 0, DAY, app.now)
        app.give(home_partition(slot(wanted), 2), told)
    app.settle()


def test_very_many_that_wait_for_an_event_have_it_before_the_next_one() -> None:
    app = network()
    triggers = [replace(TRIGGER, identity=f"id:{number}", id=str(number)) for number in range(300)]
    app.give(0, *(Admit(trigger, ["f"]) for trigger in triggers))
    app.settle()
    for effect in app.effects:
        assert isinstance(effect, Execute)
        app.post(0, WaitForEvent(effect.run_id, "paid", PAID, None, DAY))
    app.settle()
    covered(app)
    # Both are there before the first has been compared with all.
    app.give(0, offer(paid(7, 1_005)), offer(paid(8, 1_006)))
    app.settle()
    told = [
        msgspec.json.decode(told.result or "") for told in app.told if isinstance(told, StepRecorded) and told.result
    ]
    assert [result["offset"] for result in told] == [7] * 300


def test_no_record_grows_by_what_many_wait_for_that_is_large() -> None:
    app = network()
    runs = []
    for number in range(12):
        app.give(0, Admit(replace(TRIGGER, identity=f"id:{number}"), ["f"]))
        app.settle()
        runs += [effect.run_id for effect in app.effects if isinstance(effect, Execute)]
        app.effects.clear()
    every = Wanted("paid")
    for run in runs:
        wait(app, run, "held", PAID)
        wait(app, run, "any", every)
    large = replace(paid(7, 1_005), data=b'{"x":1,"text":"' + b"x" * 500_000 + b'"}')
    for wanted in (PAID, every, Wanted("paid", "data.y")):
        app.give(0, Offer(large, slot(wanted), DAY))
    covered(app)
    covered(app, every)
    for wanted in (PAID, every):
        app.give(0, Offer(replace(large, offset=9, identity="at:0/9"), slot(wanted), DAY))
    app.settle()
    assert len([told for told in app.told if isinstance(told, StepRecorded) and told.status == "completed"]) == 24
    assert max(app.sizes) < 4 * 1024 * 1024


def test_what_is_left_of_comparing_an_event_is_not_overtaken_by_the_next_one_behind_a_wait_withdrawn_in_advance() -> (
    None
):
    app = network()
    wait(app, begin(app))
    covered(app)
    app.give(0, Withdraw("0", "0", slot(PAID), cancels=True))
    large = replace(paid(7, 1_005), data=b'{"x":1,"text":"' + b"x" * FULL_BYTES + b'"}')
    app.give(0, offer(large), offer(paid(8, 1_006)))
    app.settle()
    assert answers(app) == {"paid": 7}


def test_what_replayed_runs_send_is_for_runs_of_their_replay_alone() -> None:
    app = network()
    live = begin(app)
    wait(app, live)
    covered(app)
    app.give(0, offer(paid(7, 1_005), sender=Sender("f", "shop.events", 0, 0, "r1")))
    app.settle()
    assert answers(app) == {}
    replayed = begin(app, "r1")
    wait(app, replayed, "replayed")
    assert answers(app) == {"replayed": 7}
    app.give(0, offer(paid(8, 1_006)))
    app.settle()
    assert answers(app) == {"replayed": 7, "paid": 8}


def test_a_replayed_run_has_what_its_replay_sends_and_not_what_the_original_run_sent_that_is_run_again() -> None:
    original = Sender("send", "shop.events", 0, 0)
    app = Network(1, Function("f", ("1",)), runs_again=lambda replay, sender: (replay, sender) == ("r1", original))
    app.give(0, offer(paid(7, 1_005), sender=original))
    app.settle()
    live, again, other = begin(app), begin(app, "r1"), begin(app, "r2")
    for run, step in ((live, "live"), (again, "again"), (other, "other")):
        wait(app, run, step)
    covered(app)
    assert answers(app) == {"live": 7, "other": 7}
    app.give(0, offer(paid(8, 2_000), sender=replace(original, replay_id="r1")))
    app.settle()
    assert answers(app) == {"live": 7, "other": 7, "again": 8}


def test_nothing_is_left_of_a_run_that_has_ended_nor_of_events_and_interests_after_their_time() -> None:
    app = network()
    run = begin(app)
    wait(app, run, "held")
    app.post(0, FinishRun(run, b"1"))
    covered(app)
    app.give(0, offer(paid(7, 1_005)))
    app.settle()
    [store] = app.stores()
    assert not list(store.scan(WAITERS.prefix, WAITERS.stop)) + list(store.scan(HELD_BACK.prefix, HELD_BACK.stop))
    while (due := app.next_due()) is not None:
        app.now = max(app.now, due)
        app.settle()
    for table in (OFFERED, INTERESTS):
        assert not list(store.scan(table.prefix, table.stop))
    assert app.produced[-1].value is None


def _admit(*cancellers: Canceller, gates: tuple[Gate, ...] = ()) -> Admit:
    return Admit(TRIGGER, [], None, (Asked("f", gates, cancellers=cancellers),))


def test_a_run_is_cancelled_by_any_event_behind_its_trigger_and_by_none_from_before() -> None:
    app = network()
    app.give(0, _admit(Canceller(PAID), Canceller(Wanted("any"))), offer(paid(7, 900)))
    app.settle()
    covered(app)
    assert not [told for told in app.told if isinstance(told, RunEnded)]
    app.give(0, offer(paid(8, 1_001)))
    app.settle()
    app.post(0, FinishRun(app.effects[0].run_id, b"1"))
    app.settle()
    [ended] = [told for told in app.told if isinstance(told, RunEnded)]
    assert (ended.status, ended.detail) == ("cancelled", "event paid (0/8)")
    assert not [key for key, raw in app.stores()[0].scan(WAITERS.prefix, WAITERS.stop) if WAITERS.decode(raw).asked]


def test_no_record_grows_by_what_follows_from_an_event_that_cancels_many() -> None:
    app = network()
    large = replace(TRIGGER, data=b'{"x":1,"text":"' + b"x" * 500_000 + b'"}')
    for number in range(20):
        asked = Asked("f", (), cancellers=(Canceller(Wanted("paid")),))
        app.give(0, Admit(replace(large, identity=f"id:{number}"), [], None, (asked,)))
        app.settle()
    runs = [effect.run_id for effect in app.effects if isinstance(effect, Execute)]
    app.effects.clear()
    app.give(0, Offer(paid(8, 1_001), slot(Wanted("paid")), DAY))
    app.settle()
    for run in runs:
        app.post(0, Stopped(run))
    app.settle()
    assert sorted(told.run_id for told in app.told if isinstance(told, RunEnded)) == sorted(runs)
    assert max(app.sizes) < 4 * 1024 * 1024


def test_an_event_that_comes_before_its_run_waits_cancels_it_without_waiting_for_lanes() -> None:
    app = network()
    app.give(0, offer(paid(8, 1_001)), _admit(Canceller(PAID)))
    app.settle()
    assert "cancelled" in {told.disposition for told in app.told if isinstance(told, EventDisposed)} | {
        told.status for told in app.told if isinstance(told, RunEnded)
    } or any(app.stores()[0].scan(RUNS.prefix, RUNS.stop))
    app.post(0, FinishRun(app.effects[0].run_id, b"1"))
    app.settle()
    [ended] = [told for told in app.told if isinstance(told, RunEnded)]
    assert ended.status == "cancelled"


@pytest.mark.parametrize("is_first", [True, False])
def test_a_withdrawal_that_overtakes_its_wait_takes_it_back(is_first: bool) -> None:
    app = Network(2, Function("f", ("1",)), slow=True)
    owner = home_partition(slot(PAID), 2)
    other = 1 - owner
    run = f"{'a' * 24}-{other}"
    entry = Entry(run, "f", "f00d", 1_000, 1_000, (), TRIGGER, cancellers=(Canceller(PAID),))
    asked = Await(run, "0", PAID, place(TRIGGER), DAY, cancels=True)
    app.give(other, Pass(entry))
    if is_first:
        app.give(owner, asked)
    app.settle()
    app.post(other, FinishRun(run, b"1"))
    app.settle()
    if not is_first:
        app.give(owner, asked)
    app.give(owner, offer(paid(8, 1_001)))
    app.settle()
    assert not [told for told in app.told if isinstance(told, RunEnded) and told.status != "completed"]
    assert not list(app.stores()[owner].scan(HELD_BACK.prefix, HELD_BACK.stop))
    assert not list(app.stores()[owner].scan(WAITERS.prefix, WAITERS.stop))


def test_a_cancel_that_comes_after_the_end_changes_nothing() -> None:
    app = network()
    run = begin(app)
    app.post(0, FinishRun(run, b"1"))
    app.give(0, Cancel(run, "event paid (0/8)"))
    app.settle()
    [ended] = [told for told in app.told if isinstance(told, RunEnded)]
    assert ended.status == "completed"


def test_a_time_is_a_place_behind_all_before_it() -> None:
    assert place(paid(2**40, 999, 7)) <= before(1_000) < place(paid(0, 1_000))
