"""``stream-engine send`` against a worker: what is printed, where, and with which exit code."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from stream_engine.cli.main import main
from stream_engine.shell import clients, published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply
from tests.workers import WorkerProcess

CODE = """
from pydantic import BaseModel

from stream_engine import Concurrency, Context, Debounce, Engine, NonRetriableError, On, RateLimit

engine = Engine("{app}", events="{app}.orders")


class Order(BaseModel):
    amount: int


engine.event("order/placed", Order)


@engine.function("pay", on="order/*")
async def pay(ctx: Context) -> int:
    return await ctx.step.run("charge", lambda: ctx.event.data["amount"])


@engine.function("ship", on="order/placed")
async def ship(ctx: Context) -> None:
    if ctx.event.data["amount"] > 100:
        raise NonRetriableError("too heavy")


@engine.function("nap", on="nap")
async def nap(ctx: Context) -> None:
    await ctx.step.sleep("nap", ctx.event.data.get("for", "1h"))


@engine.function("keyed", on=On("guarded", if_="event.data.amount > 100"), concurrency=Concurrency(1, "event.data.user"))
async def keyed(ctx: Context) -> str:
    return ctx.event.data["user"]


@engine.function("beside", on="guarded")
async def beside(ctx: Context) -> None: ...


@engine.function("rare", on="rare", rate_limit=RateLimit(1, per="1h", key="event.data.user"))
async def rare(ctx: Context) -> None: ...


@engine.function("quiet", on="quiet", debounce=Debounce("100ms", key="event.data.user", keep="all"))
async def quiet(ctx: Context) -> int:
    return len(ctx.events)


@engine.function("strict", on=On("strict", if_="event.data.amount > 100"))
async def strict(ctx: Context) -> None: ...
"""


@dataclass(frozen=True)
class Shop:
    """An app that a worker serves, and the command line about it."""

    settings: Settings
    app: str

    def send(self, *arguments: str, exit_code: int = 0) -> Result:
        env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": str(self.settings.bootstrap_servers), "STREAM_ENGINE_APP": self.app}
        limit = ["--timeout", "60s"] if "--wait" in arguments and "--timeout" not in arguments else []
        result = CliRunner().invoke(main, ["send", *arguments, *limit], env=env)
        assert result.exit_code == exit_code, result.output
        assert "Traceback" not in result.output
        return result

    def caused(self, *arguments: str, exit_code: int = 0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.send(*arguments, "--wait", "--json", exit_code=exit_code).stdout)
        return found


@pytest.fixture(scope="module")
def shop(broker: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One app and one worker for all tests of this file."""
    folder = tmp_path_factory.mktemp("shop")
    app = f"send-{uuid4().hex[:8]}"
    code: Path = folder / "app.py"
    code.write_text(CODE.replace("{app}", app), "utf-8")
    settings = replace(broker, state_dir=folder / "state", partitions=4)
    worker = WorkerProcess(f"{code}:engine", settings)
    try:
        worker.ready()
        yield Shop(settings, app)
    finally:
        worker.kill()


def test_it_prints_the_place_or_the_given_id(shop: Shop) -> None:
    topic, partition, offset = shop.send("nothing/wants-it", "{}").stdout.strip().rsplit("/", 2)
    assert (topic, partition.isdecimal(), offset.isdecimal()) == (f"{shop.app}.orders", True, True)
    assert shop.send("nothing/wants-it", "{}", "--id", "n1", "--key", "k").stdout == "n1\n"
    sent = json.loads(shop.send("nothing/wants-it", "{}", "--id", "n2", "--json").stdout)
    assert (sent["id"], sent["topic"]) == ("n2", topic)


def test_wait_prints_every_run_that_the_event_caused(shop: Shop) -> None:
    result = shop.send("order/placed", '{"amount": 7}', "--wait")
    assert [line.split()[1:3] for line in result.stdout.splitlines()] == [
        ["STATUS", "FUNCTION"],
        ["completed", "ship"],
        ["completed", "pay"],
    ]
    assert "pay: completed" in result.stderr
    runs = shop.caused("order/placed", '{"amount": 8}', "--id", "by-id")
    assert {run["function"]: run["result"] for run in runs} == {"pay": 8, "ship": None}
    assert {run["event_id"] for run in runs} == {"by-id"}


def test_wait_finds_runs_that_live_with_their_key(shop: Shop) -> None:
    for user in ("ann", "bob", "eve"):
        runs = shop.caused("guarded", json.dumps({"user": user, "amount": 101}))
        assert {run["function"]: run["result"] for run in runs} == {"keyed": user, "beside": None}
    runs = shop.caused("guarded", '{"user": "ann", "amount": 1}')
    assert [run["function"] for run in runs] == ["beside"]


def test_wait_says_what_a_function_cannot_use_and_prints_the_others(shop: Shop) -> None:
    result = shop.send("guarded", '{"amount": 101}', "--wait", exit_code=1)
    assert "beside" in result.stdout
    assert (
        "keyed: dead-lettered: invalid-key: concurrency: event.data.user: there is no field 'user' in this event"
        in result.stderr
    )


def test_wait_ends_with_an_event_that_is_dropped(shop: Shop) -> None:
    assert [run["status"] for run in shop.caused("rare", '{"user": "ann"}')] == ["completed"]
    result = shop.send("rare", '{"user": "ann"}', "--wait")
    assert "rare: rate-limited: it gets no run" in result.stderr
    assert result.stdout == ""


def test_wait_ends_with_the_run_of_a_debounce(shop: Shop) -> None:
    assert [run["result"] for run in shop.caused("quiet", '{"user": "ann"}')] == [1]


def test_wait_says_that_the_conditions_are_not_met(shop: Shop) -> None:
    result = shop.send("strict", '{"amount": 1}', "--wait", exit_code=1)
    assert "no function took it: its data does not meet the conditions of strict" in result.stderr


def test_wait_fails_with_a_run(shop: Shop) -> None:
    result = shop.send("order/placed", '{"amount": 700}', "--wait", exit_code=1)
    assert "NonRetriableError: too heavy" in result.stdout
    assert "not every run completed" in result.stderr


def test_wait_says_that_no_function_took_it(shop: Shop) -> None:
    result = shop.send("nothing/wants-it", "{}", "--wait", exit_code=1)
    assert result.stdout == ""
    assert f"no function took it: nothing in {shop.app} is triggered by 'nothing/wants-it'" in result.stderr


def test_wait_says_that_the_event_is_a_dead_letter(shop: Shop) -> None:
    result = shop.send("order/placed", '{"amount": "much"}', "--wait", exit_code=1)
    assert result.stdout == ""
    assert "is a dead letter (invalid-data)" in result.stderr
    assert "amount: Input should be a valid integer" in result.stderr


def test_a_duplicate_is_answered_by_the_run_that_was(shop: Shop) -> None:
    [first] = shop.caused("order/changed", '{"amount": 1}', "--id", "twice")
    result = shop.send("order/changed", '{"amount": 1}', "--id", "twice", "--wait")
    assert first["run_id"] in result.stdout
    assert "pay: completed, a duplicate: an earlier event started this run" in result.stderr


def test_a_duplicate_of_what_goes_on_waits_for_it(shop: Shop) -> None:
    shop.send("nap", '{"for": "3s"}', "--id", "long")
    [run] = shop.caused("nap", "{}", "--id", "long")
    assert (run["function"], run["status"]) == ("nap", "completed")


def test_waiting_ends_in_time(shop: Shop) -> None:
    result = shop.send("nap", "{}", "--wait", "--timeout", "2s", exit_code=1)
    assert "sleeping" in result.stdout
    assert "not ended in time: nap" in result.stderr


def test_a_function_is_started_by_its_event(shop: Shop) -> None:
    [run] = shop.caused("engine/start/pay", '{"amount": 3}')
    assert (run["function"], run["result"]) == ("pay", 3)


def test_a_late_time_delays_the_run(shop: Shop) -> None:
    result = shop.send(
        "order/changed", '{"amount": 1}', "--ts", "2999-01-01", "--wait", "--timeout", "10s", exit_code=1
    )
    assert "is a dead letter (too-far)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["order/placed", '{"amount":'], "not a JSON object"),
        (["order/placed", "[1]"], "not a JSON object"),
        (["order/*", "{}"], "only triggers do"),
        (["order/placed", "{}", "--ts", "soon"], "'soon' is not a time"),
        (["order/placed", "{}", "--timeout", "long"], "'long' is not a duration"),
        (["order/placed"], "DATA"),
    ],
)
def test_what_does_not_parse_is_exit_code_2(shop: Shop, arguments: list[str], message: str) -> None:
    result = shop.send(*arguments, exit_code=2)
    assert result.stdout == ""
    assert message in result.stderr


def test_an_app_that_is_not_there_gets_no_topic(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    for options in ([], ["--wait"]):
        result = shop.send("order/placed", "{}", "--app", "no-such-app", *options, exit_code=1)
        assert result.stdout == ""
        assert re.fullmatch("Error: there is no .*\n", result.stderr)
        assert not caplog.records
    assert not [name for name in clients.admin(shop.settings).list_topics().topics if name.startswith("no-such-app")]


def test_a_broker_that_does_not_answer_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(published, "ANSWER_SECONDS", 1.0)
    nowhere = Shop(Settings(state_dir=tmp_path, bootstrap_servers="127.0.0.1:1"), "shop")
    result = nowhere.send("order/placed", "{}", exit_code=1)
    assert re.fullmatch("Error: Kafka at 127.0.0.1:1 does not answer: .*\n", result.output)
    assert not caplog.records
    assert capfd.readouterr() == ("", ""), "nor does the client itself say more"


def test_who_waits_for_an_app_without_workers_is_told(settings: Settings, app_name: str, tmp_path: Path) -> None:
    code = tmp_path / "app.py"
    code.write_text(CODE.replace("{app}", app_name), "utf-8")
    apply(clients.admin(settings), Names.of(app_name, f"{app_name}.orders"), 4)
    asleep = Shop(settings, f"{code}:engine")
    result = asleep.send("nap", "{}", "--wait", "--timeout", "6s", exit_code=1)
    assert "nothing has taken it yet; does a worker run?" in result.stderr
    waiting: list[Result] = []
    waiter = threading.Thread(target=lambda: waiting.append(asleep.send("order/changed", '{"amount": 5}', "--wait")))
    waiter.start()
    worker = WorkerProcess(f"{code}:engine", settings)
    try:
        waiter.join(60)
        assert "completed" in waiting[0].stdout
    finally:
        worker.kill()
