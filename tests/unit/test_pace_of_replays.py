"""At which pace a worker carries a replay out that it may share with others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest
from confluent_kafka import Consumer, Producer
from msgspec.structs import replace

from stream_engine.core.routing.replay import PAUSED, Extent, Replay
from stream_engine.shell.halts import REPLAY
from stream_engine.shell.routing import replays
from stream_engine.shell.routing.replays import ROUTED, ReplayPlan, Replays, Tools
from stream_engine.shell.routing.route import Route


def _no_clients(replay_id: str) -> tuple[Consumer, Producer]:
    raise AssertionError(replay_id)


def _nothing(value: Any) -> Any:
    return None


def _in_a_second(monkeypatch: pytest.MonkeyPatch, plan: ReplayPlan, assigned: list[int]) -> int:
    """Return how many events a plan lets through in a second, in which it is asked as often as a routing thread asks."""
    routed, now = 0, 10.0
    monkeypatch.setattr(replays, "monotonic", lambda: now)
    for _ in range(21):
        most = plan.most(1, assigned)
        plan.took(most)
        routed += most
        now += 0.05
    return routed


@pytest.mark.parametrize(("assigned", "expected"), [([0, 1, 2, 3], 91), ([0, 3], 45), ([0, 1], 91)], ids=str)
def test_what_is_over_of_a_worker_leaves_its_pace_to_the_rest(
    monkeypatch: pytest.MonkeyPatch, assigned: list[int], expected: int
) -> None:
    """Of four partitions two have events; there is one left to read."""
    spans: Mapping[int, tuple[int, int]] = {0: (0, 500), 1: (3, 4), 2: (7, 7), 3: (0, 0)}
    made = Replay("r", "pay", "shop.events", "E", 0, 9, dict(spans), 10, 501, per_second=100)
    routes: dict[str, Route] = {}
    tools = Tools(*(routes, _no_clients, cast("Any", _nothing), _nothing), has_room=lambda: True, failed=_nothing)
    plan = ReplayPlan(made, Extent("r", "shop.events", spans), tools)
    assert _in_a_second(monkeypatch, plan, assigned) == expected
    assert plan.most(0, assigned) == 1


@pytest.mark.parametrize(("per_second", "expected"), [(0, 22), (80, 73)])
def test_replays_for_which_nobody_has_said_a_pace_share_one(
    monkeypatch: pytest.MonkeyPatch, per_second: int, expected: int
) -> None:
    """Of six replays that go on, four have none of their own."""
    made = Replay("r", "pay", "shop.events", "E", 0, 9, {0: (0, 500)}, 10, 500, per_second=per_second)
    others = {
        **{f"d{n}": replace(made, id=f"d{n}", per_second=0) for n in range(3 if per_second == 0 else 4)},
        **{f"o{n}": replace(made, id=f"o{n}", per_second=500) for n in range(2 if per_second == 0 else 1)},
        "paused": replace(made, id="paused", state=PAUSED),
        "routed": replace(made, id="routed", per_second=0),
    }
    values = {
        REPLAY: {name: msgspec.json.encode(one) for name, one in {"r": made, **others}.items()},
        ROUTED: {"routed": b"true"},
    }
    tools = Tools(*({}, _no_clients, values.__getitem__, _nothing), has_room=lambda: True, failed=_nothing)
    threads = Replays(tools, cast("Any", _nothing))
    threads._look()
    plan = ReplayPlan(made, Extent("r", "shop.events", made.spans), threads._tools)
    assert _in_a_second(monkeypatch, plan, [0]) == expected


def test_a_replay_that_has_waited_for_room_goes_on_at_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Replay("r", "pay", "shop.events", "E", 0, 9, {0: (0, 500)}, 10, 500, per_second=100)
    has_room, now = False, 10.0
    monkeypatch.setattr(replays, "monotonic", lambda: now)
    tools = Tools(*({}, _no_clients, cast("Any", _nothing), _nothing), has_room=lambda: has_room, failed=_nothing)
    plan = ReplayPlan(made, Extent("r", "shop.events", made.spans), tools)
    assert plan.most(1, [0]) == 0
    now = 20.0
    assert plan.most(1, [0]) == 0
    has_room = True
    # What may be kept makes up for a thread that is late, and for nothing more.
    assert plan.most(1, [0]) == 9
