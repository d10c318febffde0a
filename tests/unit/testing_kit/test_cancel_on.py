"""Runs that events cancel, wherever they are, in memory."""

from typing import Any

import pytest

from stream_engine import (
    Batch,
    CancelOn,
    Concurrency,
    Context,
    Debounce,
    DeclarationError,
    Engine,
    Event,
    function,
)
from stream_engine.testing import Kit

engine = Engine("shop")
ended: list[Any] = []
ORDER = CancelOn("order/cancelled", match="data.id")


async def mourn(ctx: Context) -> None:
    ended.append(ctx.event.data["id"])


@engine.function("sync", on="profile/updated", cancel_on=CancelOn("profile/updated", match="data.user"))
async def sync(ctx: Context) -> int:
    await ctx.step.sleep("debounce", "10s")
    version: int = ctx.event.data["version"]
    return version


@engine.function("ship", on="order/placed", cancel_on=ORDER, on_cancel=mourn)
async def ship(ctx: Context) -> None:
    await ctx.step.wait_for_event("paid", "order/paid", match="data.id")


@engine.function("queue", on="order/queued", cancel_on=ORDER, concurrency=Concurrency(1))
async def queue(ctx: Context) -> None:
    await ctx.step.sleep("work", "1h")


@engine.function("calm", on="order/typed", cancel_on=ORDER, debounce=Debounce("1m", key="event.data.id"))
async def calm(ctx: Context) -> None:
    pass


@engine.function("later", on="order/later", cancel_on=[CancelOn("order/lost"), ORDER])
async def later(ctx: Context) -> None:
    pass


@engine.function("many", on="order/many", cancel_on=ORDER, on_cancel=mourn, batch=Batch(3, timeout="1h"))
async def many(ctx: Context) -> list[int]:
    await ctx.step.sleep("work", "1h")
    return [ctx.event.data["n"], *(event.data["n"] for event in ctx.events)]


@engine.function("brief", on="order/brief", cancel_on=CancelOn("order/cancelled", match="data.id", timeout="1m"))
async def brief(ctx: Context) -> None:
    await ctx.step.sleep("work", "1h")


@engine.function(
    "picky",
    on="order/picky",
    cancel_on=CancelOn("order/*", if_="async_event.data.ref == event.data.id && async_event.data.final"),
)
async def picky(ctx: Context) -> None:
    await ctx.step.sleep("work", "1h")


@pytest.fixture
def kit(stream_engine: Kit) -> Kit:
    ended.clear()
    stream_engine.use(engine)
    return stream_engine


def statuses(kit: Kit, function: str) -> list[str]:
    return [run.status for run in kit.runs(function)]


def cancelled(id: int) -> Event:
    return Event("order/cancelled", {"id": id})


def test_a_newer_update_cancels_the_older_sync_and_itself_lives(kit: Kit) -> None:
    for version in range(3):
        kit.send([Event("profile/updated", {"user": user, "version": version}) for user in ("ada", "bob")])
        kit.advance("1s")
    kit.advance("1h")
    assert statuses(kit, "sync") == ["cancelled"] * 4 + ["completed"] * 2
    assert [run.result for run in kit.runs("sync", "completed")] == [2, 2]


def test_a_run_that_waits_is_cancelled_and_its_handler_runs_once(kit: Kit) -> None:
    kit.send([Event("order/placed", {"id": 7}), Event("order/placed", {"id": 8})])
    kit.send([cancelled(7), cancelled(7)])
    assert statuses(kit, "ship") == ["cancelled", "waiting"]
    assert ended == [7]


def test_a_trigger_that_is_sent_again_cancels_nothing(kit: Kit) -> None:
    update = Event("profile/updated", {"user": "ada", "version": 1}, id="update-1")
    kit.send([update, update])
    kit.send(update)
    kit.advance("1h")
    assert [(run.status, run.result) for run in kit.runs("sync")] == [("completed", 1)]


def test_an_event_from_before_the_trigger_cancels_nothing(kit: Kit) -> None:
    kit.send([cancelled(7), Event("order/placed", {"id": 7})])
    assert statuses(kit, "ship") == ["waiting"]


def test_a_run_that_waits_for_its_turn_is_cancelled(kit: Kit) -> None:
    kit.send([Event("order/queued", {"id": id}) for id in (1, 2, 3)])
    kit.send(cancelled(2))
    kit.advance("5h")
    assert statuses(kit, "queue") == ["completed", "cancelled", "completed"]


def test_a_run_that_is_debounced_is_cancelled_and_a_newer_event_starts_another(kit: Kit) -> None:
    kit.send([Event("order/typed", {"id": 7}), Event("order/typed", {"id": 7}), Event("order/typed", {"id": 8})])
    kit.send(cancelled(7))
    kit.send(Event("order/typed", {"id": 7}))
    kit.advance("1h")
    assert sorted(statuses(kit, "calm")) == ["cancelled", "completed", "completed"]


def test_a_run_that_waits_for_its_time_is_cancelled(kit: Kit) -> None:
    kit.send(Event("order/later", {"id": 7}, ts=round((kit.now.timestamp() + 3_600) * 1_000)))
    kit.send(cancelled(7))
    kit.advance("2h")
    assert statuses(kit, "later") == ["cancelled"]


def test_events_are_taken_out_of_a_batch_that_has_not_started(kit: Kit) -> None:
    kit.send([Event("order/many", {"id": id, "n": id}) for id in (1, 2)])
    kit.send(cancelled(1))
    kit.send([Event("order/many", {"id": id, "n": id}) for id in (3, 4)])
    kit.send(cancelled(3))
    kit.advance("3h")
    assert [run.result for run in kit.runs("many")] == [[2, 2, 3, 4]]
    assert ended == []


def test_a_batch_that_has_lost_all_events_is_none(kit: Kit) -> None:
    kit.send([Event("order/many", {"id": id, "n": id}) for id in (1, 2)])
    kit.send([cancelled(2), cancelled(1)])
    kit.advance("3h")
    assert statuses(kit, "many") == ["cancelled"]
    kit.send([Event("order/many", {"id": id, "n": id}) for id in (5, 6, 7)])
    kit.advance("3h")
    assert [run.result for run in kit.runs("many", "completed")] == [[5, 5, 6, 7]]
    assert ended == []


def test_after_its_time_an_event_cancels_nothing(kit: Kit) -> None:
    kit.send([Event("order/brief", {"id": 1}), Event("order/brief", {"id": 2})])
    kit.advance("30s")
    kit.send(cancelled(1))
    kit.advance("2m")
    kit.send(cancelled(2))
    assert statuses(kit, "brief") == ["cancelled", "sleeping"]


def test_a_condition_decides(kit: Kit) -> None:
    kit.send(Event("order/picky", {"id": 7}))
    kit.send([Event("order/x", {"ref": 7, "final": False}), Event("order/x", {"ref": 8, "final": True})])
    assert statuses(kit, "picky") == ["sleeping"]
    kit.send(Event("order/x", {"ref": 7, "final": True}))
    [run] = kit.runs("picky")
    assert run.status == "cancelled"


@pytest.mark.parametrize(
    ("cancel_on", "problem"),
    [
        ("order/cancelled", "give CancelOn"),
        ([ORDER] * 6, "at most 5"),
    ],
)
def test_what_cannot_work_is_an_error_at_the_declaration(cancel_on: Any, problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem):
        function("f", on="x", cancel_on=cancel_on)


def test_an_event_cannot_cancel_the_run_that_keeps_it() -> None:
    with pytest.raises(DeclarationError, match="cancel_on 'x', which is a trigger"):
        function("f", on=["x", "y"], debounce=Debounce("1s", keep="all"), cancel_on=CancelOn("x"))


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"match": "event.data.x"}, "leave out 'event'"),
        ({"if_": "async_event.data.x > 1"}, "needs such an equality"),
        ({"timeout": "never"}, "not a duration"),
    ],
)
def test_a_value_that_cannot_work_is_an_error(how: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem):
        CancelOn("x", **how)
