"""Where events come together with who waits for them: what is answered, when, and with which event."""

import msgspec
import pytest
from msgspec.structs import replace

from stream_engine.core.commands import FinishRun, Stopped, WaitForEvent
from stream_engine.core.history import EventDisposed, RunEnded, StepRecorded
from stream_engine.core.identity import home_partition
from stream_engine.core.interests import before, interest_of, place, slot
from stream_engine.core.records import Event, Gate
from stream_engine.core.requests import Admit, Asked, Cancel, Entry, Pass
from stream_engine.core.tables import RUNS
from stream_engine.core.turn import Execute, Function
from stream_engine.core.wait_tables import HELD_BACK, INTERESTS, OFFERED, WAITERS
from stream_engine.core.wanted import Await, Canceller, Offer, Offering, Wanted
from tests.unit.core.network import Network

DAY = 86_400_000
PAID = Wanted("paid", "data.x", "1")
LANES = (("shop.events", 2),)
TRIGGER = Event("go", "id:go", "go", 1_000, 1_000, "shop.events", 0, 0, b'{"x":1}')


def paid(offset: int, at: int = 1_000, lane: int = 0, **data: int) -> Event:
    raw = msgspec.json.encode({"x": 1, **data})
    return Event("paid", f"at:{lane}/{offset}", f"{lane}/{offset}", at, at, "shop.events", lane, offset, raw)


def offer(event: Event, wanted: Wanted = PAID, replay_id: str | None = None) -> Offer:
    return Offer(event, ((slot(wanted), DAY),), replay_id)


def covered(network: Network, wanted: Wanted = PAID, *lanes: int) -> None:
    for lane in lanes or (0, 1):
        network.give(0, Offering(interest_of(wanted.name, wanted.path), "shop.events", lane, LANES, 0, DAY))
        network.settle()


def begin(network: Network, replay_id: str | None = None) -> str:
    network.give(0, Admit(TRIGGER, ["f"], replay_id))
    network.settle()
    [execute] = [effect for effect in network.effects if isinstance(effect, Execute)]
    network.effects.clear()
    return execute.run_id


def wait(network: Network, run: str, step: str = "paid", wanted: Wanted = PAID, timeout: int | None = None) -> None:
    network.post(0, WaitForEvent(run, step, wanted, timeout, DAY))
    network.settle()


def answers(network: Network) -> dict[str, int | None]:
    """Return the offset of the event that each step has had."""
    found = {}
    for told in network.told:
        if isinstance(told, StepRecorded) and told.status == "completed":
            result = msgspec.json.decode(told.result or "null")
            found[told.step_id] = None if result is None else result["offset"]
    return found


def network() -> Network:
    return Network(1, Function("f", ("1",), on_cancel="undo"), Function("undo", ("1",)))


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
    app.give(0, Offer(large, tuple((slot(wanted), DAY) for wanted in (PAID, every, Wanted("paid", "data.y")))))
    covered(app)
    covered(app, every)
    app.give(0, Offer(replace(large, offset=9, identity="at:0/9"), ((slot(PAID), DAY), (slot(every), DAY))))
    app.settle()
    assert len([told for told in app.told if isinstance(told, StepRecorded) and told.status == "completed"]) == 24
    assert max(app.sizes) < 4 * 1024 * 1024


def test_an_event_whose_wait_is_over_when_it_comes_is_for_another_wait_of_the_run() -> None:
    app = Network(2, Function("f", ("1",)), slow=True)
    home = 1 - home_partition(slot(PAID), 2)
    run = f"{'a' * 24}-{home}"
    app.give(home, Pass(Entry(run, "f", "f00d", 1_000, 1_000, (), TRIGGER)))
    app.settle()
    app.post(home, WaitForEvent(run, "brief", PAID, 5, DAY))
    app.post(home, WaitForEvent(run, "long", PAID, None, DAY))
    app.settle()
    for lane in (0, 1):
        app.give(1 - home, Offering(interest_of("paid", "data.x"), "shop.events", lane, LANES, 0, DAY))
    app.settle()
    app.give(1 - home, offer(paid(8, 1_001)))
    app.decide(1 - home)
    app.now += 5
    app.decide(home)
    app.settle()
    assert answers(app) == {"brief": None, "long": 8}


def test_what_replayed_runs_send_is_for_runs_of_their_replay_alone() -> None:
    app = network()
    live = begin(app)
    wait(app, live)
    covered(app)
    app.give(0, offer(paid(7, 1_005), replay_id="r1"))
    app.settle()
    assert answers(app) == {}
    replayed = begin(app, "r1")
    wait(app, replayed, "replayed")
    assert answers(app) == {"replayed": 7}
    app.give(0, offer(paid(8, 1_006)))
    app.settle()
    assert answers(app) == {"replayed": 7, "paid": 8}


def test_after_the_timeout_there_is_no_answer_and_no_wait() -> None:
    app = network()
    wait(app, begin(app), timeout=500)
    covered(app)
    app.now += 500
    app.settle()
    assert answers(app) == {"paid": None}
    assert not list(app.stores()[0].scan(WAITERS.prefix, WAITERS.stop))
    app.give(0, offer(paid(7, 1_005)))
    app.settle()
    assert answers(app) == {"paid": None}


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


def test_coverage_ends_with_what_was_kept_and_is_asked_for_again() -> None:
    app = network()
    run = begin(app, "r1")
    wait(app, run, "first")
    covered(app)
    assert len(app.produced) == 1
    app.now += 2 * DAY
    app.settle()
    wait(app, run, "second")
    assert len(app.produced) == 2
    app.give(0, offer(paid(7, 1_005)))
    app.settle()
    assert "second" not in answers(app)
    covered(app)
    assert answers(app) == {"first": 7}
    app.give(0, offer(paid(8, 1_006)))
    app.settle()
    assert answers(app) == {"first": 7, "second": 8}


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
    app.give(0, Offer(paid(8, 1_001), ((slot(Wanted("paid")), DAY),)))
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
