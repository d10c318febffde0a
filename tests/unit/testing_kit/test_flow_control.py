"""The classic cases of flow control in topologies/flow.py, served in memory by the engine's own core."""

import asyncio
import importlib.util
import re
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stream_engine import Event
from stream_engine.testing import Kit

_TOPOLOGIES = Path(__file__).parents[3] / "topologies"


@pytest.fixture
def flow(stream_engine: Kit) -> ModuleType:
    """The module, freshly loaded: its functions write down what is done at the same time."""
    spec = importlib.util.spec_from_file_location("flow", _TOPOLOGIES / "flow.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stream_engine.use(module.engine)
    return module


@pytest.fixture
def at_once(flow: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many bodies of steps with the same argument were at work at the same time, at most."""
    now, most = Counter[str](), Counter[str]()

    async def work(what: str) -> str:
        now[what] += 1
        most[what] = max(most[what], now[what])
        await asyncio.sleep(0.01)
        now[what] -= 1
        return what

    monkeypatch.setattr(flow, "work", work)
    return most


def send(kit: Kit, name: str, *data: dict[str, Any]) -> None:
    kit.send([Event(name, item) for item in data])


def results(kit: Kit, function: str) -> list[Any]:
    return [run.result for run in kit.runs(function, "completed")]


def test_ten_at_a_time_per_merchant(stream_engine: Kit, at_once: Counter[str]) -> None:
    send(stream_engine, "payout/requested", *({"merchant_id": name} for name in ["a"] * 25 + ["b"] * 3))
    stream_engine.advance()
    assert at_once == {"a": 10, "b": 3}
    assert len(results(stream_engine, "pay-out")) == 28


@pytest.mark.usefixtures("flow")
def test_thirty_a_minute_per_account(stream_engine: Kit) -> None:
    for account in ("a", "b"):
        send(stream_engine, "contact/changed", *({"account_id": account, "contact_id": str(n)} for n in range(35)))
    assert len(results(stream_engine, "sync-crm")) == 60
    [waiting, *_] = stream_engine.runs("sync-crm", "queued")
    assert waiting.waiting_on is not None
    assert re.match("throttle of a, 1 waited when it came, since .*Z, not before ", waiting.waiting_on)
    stream_engine.advance("59s")
    assert len(results(stream_engine, "sync-crm")) == 60
    stream_engine.advance("1s")
    assert len(results(stream_engine, "sync-crm")) == 70


@pytest.mark.usefixtures("flow")
def test_one_password_reset_per_hour_and_address(stream_engine: Kit) -> None:
    mails = [{"email": "ada@example.com"}, {"email": "ada@example.com"}, {"email": "bob@example.com"}]
    send(stream_engine, "password/forgotten", *mails)
    assert results(stream_engine, "reset-password") == ["ada@example.com", "bob@example.com"]
    stream_engine.advance("59m")
    send(stream_engine, "password/forgotten", mails[0])
    assert len(results(stream_engine, "reset-password")) == 2
    stream_engine.advance("2m")
    send(stream_engine, "password/forgotten", mails[0])
    assert len(results(stream_engine, "reset-password")) == 3


@pytest.mark.usefixtures("flow")
def test_twelve_webhooks_in_two_seconds_are_one_run(stream_engine: Kit) -> None:
    for revision in range(12):
        send(stream_engine, "webhook/received", {"page_id": "home", "revision": revision})
        stream_engine.advance("150ms")
    assert results(stream_engine, "reindex") == []
    stream_engine.advance("2s")
    assert results(stream_engine, "reindex") == [11]


@pytest.mark.usefixtures("flow")
def test_webhooks_that_never_cease_wait_thirty_seconds_at_most(stream_engine: Kit) -> None:
    for revision in range(31):
        send(stream_engine, "webhook/received", {"page_id": "home", "revision": revision})
        stream_engine.advance("1s")
    assert results(stream_engine, "reindex") == [29]


@pytest.mark.usefixtures("flow")
def test_page_views_come_by_the_hundred_or_after_ten_seconds(stream_engine: Kit) -> None:
    send(stream_engine, "page/viewed", *({"n": n} for n in range(230)))
    assert results(stream_engine, "load-analytics") == [100, 100]
    stream_engine.advance("10s")
    assert results(stream_engine, "load-analytics") == [100, 100, 30]


def test_a_report_is_exclusive(stream_engine: Kit, at_once: Counter[str]) -> None:
    send(stream_engine, "report/requested", {}, {}, {})
    assert results(stream_engine, "write-report") == ["report"]
    send(stream_engine, "report/requested", {})
    assert results(stream_engine, "write-report") == ["report", "report"]
    assert at_once == {"report": 1}


@pytest.mark.usefixtures("flow")
def test_a_report_is_written_every_morning(stream_engine: Kit) -> None:
    stream_engine.advance("2d")
    assert results(stream_engine, "write-report") == ["report", "report"]


def test_enterprise_comes_first(stream_engine: Kit, flow: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    async def work(what: str) -> str:
        begun.append(what)
        await asyncio.sleep(0.01)
        return what

    monkeypatch.setattr(flow, "work", work)
    send(stream_engine, "video/uploaded", *({"plan": plan} for plan in ["free"] * 4 + ["enterprise"] * 2))
    stream_engine.advance()
    # Two have begun before the others are there.
    assert begun == ["free", "free", "enterprise", "enterprise", "free", "free"]


@pytest.mark.usefixtures("flow")
def test_several_events_of_an_order_are_one_sync(stream_engine: Kit) -> None:
    for name in ("order/placed", "order/paid", "order/shipped"):
        send(stream_engine, name, {"order_id": "7"})
    send(stream_engine, "order/placed", {"order_id": "8"})
    stream_engine.advance("1s")
    assert sorted(results(stream_engine, "sync-order")) == ["order/placed", "order/shipped"]
