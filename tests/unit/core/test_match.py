"""What an event means for functions with conditions and flow control: who wants it, behind which gates, and where its run lives."""

import json
from typing import Any

import pytest

from stream_engine.core.functions.catalogue import Catalogue, FunctionSpec, cron_event, start_event
from stream_engine.core.functions.flow import (
    PLAIN,
    Batch,
    Concurrency,
    Cron,
    Debounce,
    Flow,
    RateLimit,
    Singleton,
    Throttle,
)
from stream_engine.core.functions.match import Matched
from stream_engine.core.identity import home_partition
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Asked, Unfit

DATA = {"total": 150, "user": "ann", "tenant": 7, "plan": "pro", "bulk": False}
PARTITIONS = 64


def event(name: str = "a", **data: Any) -> Event:
    return Event(name, "id:1", "1", 1_000, 1_000, "events", 0, 7, json.dumps(DATA | data).encode())


def spec(id: str = "f", *triggers: str, conditions: Any = None, flow: Flow = PLAIN, crons: Any = ()) -> FunctionSpec:
    return FunctionSpec(id, [*(triggers or ("a",)), start_event(id)], ["1"], conditions or {}, flow, crons)


def match(*specs: FunctionSpec, of: Event | None = None, replay_id: str | None = None) -> Matched:
    # Through its text, as routers get it.
    catalogue = Catalogue.decode(Catalogue({spec.id: spec for spec in specs}).encode())
    return catalogue.match(of or event(), PARTITIONS, replay_id)


def asked(flow: Flow, of: Event | None = None, replay_id: str | None = None) -> Asked:
    matched = match(spec(flow=flow), of=of, replay_id=replay_id)
    assert (matched.functions, matched.unfit) == ([], [])
    [found] = matched.asked
    return found


def gates(flow: Flow, of: Event | None = None, replay_id: str | None = None) -> tuple[Gate, ...]:
    return asked(flow, of, replay_id).gates


def test_a_name_whose_functions_are_plain_is_looked_up_once() -> None:
    catalogue = Catalogue({"f": spec("f"), "g": spec("g", "b")})
    assert catalogue.match(event(), 4) == Matched(["f"], [], [])
    assert catalogue.match(event(), 4) is catalogue.match(event(total=1), 4)
    assert catalogue.match(event("c"), 4) == Matched([], [], [])


def test_conditions() -> None:
    high, low = "event.data.total > 100", "event.data.total < 100"
    catalogue = [
        spec("plain"),
        spec("high", conditions={"a": (high,)}),
        spec("low", conditions={"a": (low,)}),
        spec("either", conditions={"a": (low, high)}),
        spec("absent", conditions={"a": ("event.data.nothing == 1",)}),
        spec("wild", "a*", "*", conditions={"a*": (low,)}),
        spec("narrow", "a", "*", conditions={"a": (low,), "*": (high,)}),
    ]
    matched = match(*catalogue, of=event("abc"))
    assert matched == Matched(["narrow", "wild"], [], [])
    assert match(*catalogue) == Matched(["either", "high", "narrow", "plain", "wild"], [], [])
    assert match(*catalogue, of=event(start_event("low"))).functions == ["low"]


def test_a_condition_that_fails_counts_if_none_holds() -> None:
    fails, holds = "event.data.total > 'x'", "event.data.total > 1"
    matched = match(
        spec("f", conditions={"a": (fails, holds)}),
        spec("g", conditions={"a": (fails, "event.data.nothing")}),
        spec("h"),
    )
    assert matched.functions == ["f", "h"]
    [unfit] = matched.unfit
    assert (unfit.function, unfit.reason) == ("g", "invalid-condition")
    assert unfit.detail.startswith("if_: event.data.total > 'x': No matching overloads")


def test_a_failing_key_is_a_dead_letter_of_its_function_alone() -> None:
    matched = match(spec("f", flow=Flow(singleton=Singleton(key="event.data.nothing"))), spec("g"))
    assert matched.functions == ["g"]
    assert matched.unfit == [
        Unfit("f", "invalid-key", "singleton: event.data.nothing: there is no field 'nothing' in this event")
    ]


def test_an_expression_that_this_engine_does_not_understand_is_a_dead_letter_as_well() -> None:
    [unfit] = match(spec(flow=Flow(idempotency="event.data.total +"))).unfit
    assert (unfit.function, unfit.reason) == ("f", "invalid-key")
    [unfit] = match(spec(conditions={"a": ("nobody(1)",)})).unfit
    assert (unfit.function, unfit.reason) == ("f", "invalid-condition")


def test_gates_are_in_the_written_order_with_their_numbers() -> None:
    flow = Flow(
        concurrency=(Concurrency(3, "event.data.user", while_waiting="release"), Concurrency(9, pool="ai")),
        throttle=Throttle(30, 60_000, "event.data.user", burst=5),
        rate_limit=RateLimit(4, 3_600_000),
        debounce=Debounce(5_000, "event.data.tenant", 60_000, "all"),
        singleton=Singleton("replace"),
        idempotency="event.data.tenant",
    )
    found = gates(flow)
    shown = [(gate.kind, gate.scope, gate.key, gate.limit, gate.per, gate.most, gate.mode) for gate in found]
    assert shown == [
        ("idempotency", "f", "7", 0, 86_400_000, 0, ""),
        ("debounce", "f", "7", 0, 5_000, 60_000, "all"),
        ("rate limit", "f", "", 4, 3_600_000, 0, ""),
        ("singleton", "f", "", 0, 0, 0, "replace"),
        ("throttle", "f", "ann", 35, 60_000, 0, ""),
        ("concurrency", "ai", "", 9, 0, 0, "hold"),
        ("concurrency", "f", "ann", 3, 0, 0, "release"),
    ]
    assert len({gate.id for gate in found}) == len(found)
    assert all(gate.partition == home_partition(gate.id, PARTITIONS) for gate in found)


def test_a_batch_is_left_out_for_an_event_that_is_not_for_it() -> None:
    flow = Flow(batch=Batch(100, 10_000, "event.data.tenant", 1_000, "event.data.bulk"))
    assert match(spec(flow=flow)).functions == ["f"]
    [gate] = gates(flow, event(bulk=True))
    assert (gate.kind, gate.key, gate.limit, gate.per, gate.most) == ("batch", "7", 100, 10_000, 1_000)
    [unfit] = match(spec(flow=flow), of=event(bulk="yes")).unfit
    assert (unfit.reason, unfit.detail[:24]) == ("invalid-condition", "batch: if_: event.data.b")


def test_equal_keys_and_pools_are_one_gate_whatever_the_function() -> None:
    def of(id: str, limit: Concurrency, **data: Any) -> str:
        [found] = match(spec(id, flow=Flow((limit,))), of=event(**data)).asked
        return found.gates[0].id

    pooled = Concurrency(1, "event.data.user", "ai")
    assert of("f", pooled) == of("g", Concurrency(1, "event.data.nick", "ai"), nick="ann")
    assert of("f", pooled) != of("f", pooled, user="bob")
    own = Concurrency(1, "event.data.user")
    assert of("f", own) != of("g", own)
    assert of("f", Concurrency(1, pool="f")) != of("f", Concurrency(1))
    assert len({of("f", own, user=user) for user in ("1", 1, True, ["1"], "")}) == 5
    assert of("f", own, user=1) == of("f", own, user=1.0)
    assert of("f", Concurrency(1)) != of("f", own, user="")


def test_two_limits_of_a_function_never_share_slots_by_accident() -> None:
    flow = Flow((Concurrency(1, "event.data.user"), Concurrency(1, "event.data.plan")))
    assert len({gate.id for gate in gates(flow, event(user="x", plan="x"))}) == 2
    pooled = Flow((Concurrency(1, "event.data.user", "ai"), Concurrency(1, "event.data.plan", "ai")))
    assert len(gates(pooled, event(user="x", plan="x"))) == 1


def test_limits_are_in_one_order_for_all_functions() -> None:
    one = Concurrency(1, pool="one")
    other = Concurrency(1, pool="other")
    released = Concurrency(1, pool="a", while_waiting="release")
    assert gates(Flow((one, other))) == gates(Flow((other, one)))
    assert gates(Flow((released, one)))[1].scope == "a"
    assert gates(Flow((one, released)))[1].scope == "a"


def test_who_waits_for_its_own_key_holds_nothing_that_another_key_could_use() -> None:
    keyed, common = Concurrency(1, "event.data.user"), Concurrency(9)

    def order(*limits: Concurrency, throttle: str | None = None) -> list[str]:
        found = gates(Flow(limits, Throttle(1, 1, throttle)))
        return [gate.kind if gate.kind == "throttle" else gate.key for gate in found]

    for user in ("ann", "bob", "cid", "dan", "eve"):
        kept = [gate.key for gate in gates(Flow((common, keyed)), event(user=user))]
        assert kept == [user, ""]
    assert order(common, keyed) == ["ann", "", "throttle"]
    assert order(common, keyed, throttle="event.data.tenant") == ["ann", "throttle", ""]
    assert order(common, throttle="event.data.tenant") == ["throttle", ""]


@pytest.mark.parametrize("replay_id", [None, "r1"])
def test_what_a_replay_has_for_itself(replay_id: str | None) -> None:
    flow = Flow(
        (Concurrency(1),), Throttle(1, 1), RateLimit(1, 1), Debounce(1), None, Singleton(), None, "event.data.user"
    )
    live, found = gates(flow), gates(flow, replay_id=replay_id)
    apart = [one.kind for one, other in zip(live, found, strict=True) if one.id != other.id]
    assert apart == ([] if replay_id is None else ["idempotency", "debounce", "rate limit"])


def test_a_run_lives_with_its_last_key() -> None:
    user, tenant = "event.data.user", "event.data.tenant"

    def home(*flow: Any, **more: Any) -> tuple[int, dict[str, int]]:
        found = asked(Flow(*flow, **more))
        return found.home, {gate.kind: gate.partition for gate in found.gates}

    at, owners = home((Concurrency(1, user),), singleton=Singleton(key=tenant))
    assert at == owners["concurrency"]
    at, owners = home((Concurrency(1),), singleton=Singleton(key=tenant), debounce=Debounce(1, user))
    assert at == owners["singleton"]
    at, owners = home(batch=Batch(1, 1, user))
    assert at == owners["batch"]
    at, owners = home(debounce=Debounce(1, user), throttle=Throttle(1, 1, tenant))
    assert at == owners["debounce"]
    for flow in ((Concurrency(1, pool="ai"),), (Concurrency(1),)):
        assert home(flow, rate_limit=RateLimit(1, 1, user), throttle=Throttle(1, 1, user))[0] == -1
    found = asked(Flow((Concurrency(1, user), Concurrency(1, tenant))))
    assert found.home == found.gates[1].partition


@pytest.mark.parametrize(
    ("priority", "head_start"),
    [
        ("event.data.plan == 'pro' ? 120 : 0", 120_000),
        ("-0.5", -500),
        ("event.data.total * 10", 600_000),
        ("-1e9", -600_000),
    ],
)
def test_priority_is_a_head_start_within_bounds(priority: str, head_start: int) -> None:
    found = asked(Flow((Concurrency(1),), priority=priority))
    assert (found.head_start, found.home) == (head_start, -1)


def test_a_priority_that_is_none_is_a_dead_letter() -> None:
    for text in ("event.data.nothing", "event.data.plan"):
        [unfit] = match(spec(flow=Flow((Concurrency(1),), priority=text))).unfit
        assert unfit.reason == "invalid-priority"
    assert match(spec(flow=Flow(priority="0"))).functions == ["f"]


def tick(**data: Any) -> Event:
    return Event(cron_event("f"), "id:1", "1", 1_000, 1_000, "events", 0, 7, json.dumps(data).encode())


@pytest.mark.parametrize(
    ("overlap", "kind", "limit", "mode"),
    [("skip", "singleton", 0, "skip"), ("cancel", "singleton", 0, "replace"), ("queue", "concurrency", 1, "hold")],
)
def test_overlapping_ticks(overlap: Any, kind: str, limit: int, mode: str) -> None:
    crons = (Cron("* * * * *", overlap="allow"), Cron("0 * * * *", overlap=overlap))
    function = spec("f", "a", cron_event("f"), crons=crons, flow=Flow((Concurrency(5),)))
    [found] = match(function, of=tick(cron="0 * * * *", index=1, tick="2024-01-01T00:00:00Z")).asked
    [gate] = [gate for gate in found.gates if gate.scope == "f/cron/1"]
    assert (gate.kind, gate.limit, gate.mode, found.home) == (kind, limit, mode, -1)
    assert len(found.gates) == 2
    for other in (tick(index=0), event()):
        assert [gate.kind for asked in match(function, of=other).asked for gate in asked.gates] == ["concurrency"]


def test_a_tick_of_no_cron_is_a_dead_letter() -> None:
    function = spec("f", cron_event("f"), crons=(Cron("* * * * *"),))
    for wrong in (tick(), tick(index=1), tick(index=-1), tick(index=True), tick(index="0")):
        [unfit] = match(function, of=wrong).unfit
        assert unfit.reason == "invalid-tick"
    assert match(spec("f", "*", crons=(Cron("* * * * *"),)), of=tick(index=0)) == Matched([], [], [])
