"""`dead-letters`, `functions` and `groups` on a real broker, with a worker that serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import TopicPartition

from stream_engine.cli.main import main
from stream_engine.shell import clients
from stream_engine.shell.operating import letters
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply
from tests.workers import WorkerProcess, until

_CODE = """
from stream_engine import Context, Engine

engine = Engine("{app}")


@engine.function("nap", on=["order/placed", "order/*"])
async def nap(ctx: Context) -> None:
    await ctx.step.sleep("long", "1h")


@engine.function("quick", on="quick/asked", version="7")
async def quick(ctx: Context) -> str:
    return "done"
"""


class Operator:
    """An app, and who looks after it."""

    def __init__(self, settings: Settings, app: str, folder: Path) -> None:
        self.names = Names.of(app)
        self.admin = clients.admin(settings)
        apply(self.admin, self.names, 2)
        code = folder / "app.py"
        code.write_text(_CODE.format(app=app), "utf-8")
        self.worker = WorkerProcess(f"{code}:engine", settings)
        self.producer = clients.producer(settings)
        self.settings = settings

    def command(self, *arguments: str) -> Result:
        """Run ``stream-engine`` about this app."""
        env = {
            "STREAM_ENGINE_BOOTSTRAP_SERVERS": str(self.settings.bootstrap_servers),
            "STREAM_ENGINE_STATE_DIR": str(self.settings.state_dir),
            "STREAM_ENGINE_APP": self.names.app,
        }
        return CliRunner().invoke(main, arguments, env=env)

    def told(self, *arguments: str) -> Any:
        """Return what a command prints with ``--json``."""
        result = self.command(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def produce(self, value: bytes | None, partition: int, **more: Any) -> None:
        """Put a message on the events topic."""
        self.producer.produce(self.names.events, value, partition=partition, **more)
        assert self.producer.flush(30) == 0


@pytest.fixture
def operator(settings: Settings, app_name: str, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(settings, app_name, tmp_path)
    try:
        yield operator
    finally:
        operator.worker.kill()


def test_a_dead_letter_is_listed_shown_and_sent_again_as_it_was(operator: Operator) -> None:
    assert operator.told("dead-letters", "list") == []
    empty = operator.command("dead-letters", "list")
    assert (empty.exit_code, empty.stdout) == (0, "")
    operator.worker.ready()
    raw = b"\xffnot json"
    headers = [("reason", b"mine"), ("ce_id", b"7"), ("ce_id", b"8"), ("none", None)]
    operator.produce(raw, 1, key=b"customer-9", headers=headers)
    until(lambda: operator.told("dead-letters", "list"), "the letter")
    operator.produce(None, 0)
    until(lambda: len(operator.told("dead-letters", "list")) == 2, "two letters")
    newest, oldest = operator.told("dead-letters", "list")
    fields = "id topic partition offset reason detail function key at retried_at"
    assert list(oldest) == fields.split()
    assert (oldest["topic"], oldest["partition"], oldest["offset"]) == (operator.names.events, 1, 0)
    assert (oldest["function"], oldest["key"], oldest["at"] <= newest["at"]) == (None, "customer-9", True)
    assert oldest["reason"] != "mine"
    assert operator.told("dead-letters", "list", "--limit", "1") == [newest]
    assert operator.told("dead-letters", "list", "--reason", oldest["reason"]) == [oldest]
    table = operator.command("dead-letters", "list").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["ID", newest["id"], oldest["id"]]
    shown = operator.told("dead-letters", "show", oldest["id"])
    assert shown["value"].startswith("base64:")
    assert shown["headers"][0] == {"name": "reason", "value": "mine"}
    assert f"dead letter {oldest['id']}" in operator.command("dead-letters", "show", oldest["id"]).stdout
    [sent] = operator.told("dead-letters", "retry", oldest["id"])
    assert sent == {"id": oldest["id"], "topic": operator.names.events, "partition": 1, "offset": 1}
    again = operator.command("dead-letters", "retry", newest["id"])
    assert again.stdout == f"{newest['id']} was sent again, and is offset 1 of {operator.names.events}/0\n"
    assert _message(operator, 1, 1) == (raw, b"customer-9", headers)
    assert _message(operator, 0, 1) == (None, None, None)
    until(lambda: len(operator.told("dead-letters", "list")) == 4, "letters of what was sent again")
    _tells_when_they_were_retried(operator, newest, oldest)


def _tells_when_they_were_retried(operator: Operator, newest: dict[str, Any], oldest: dict[str, Any]) -> None:
    when = {letter["id"]: letter["retried_at"] for letter in operator.told("dead-letters", "list")}
    assert {letter for letter, at in when.items() if at} == {newest["id"], oldest["id"]}
    assert when[oldest["id"]] >= oldest["at"]
    assert operator.told("dead-letters", "show", oldest["id"])["retried_at"] == when[oldest["id"]]
    assert when[oldest["id"]] in operator.command("dead-letters", "list").stdout
    # Nobody remembers it for longer than there is a letter.
    number, offset = map(int, oldest["id"].split("-"))
    part = TopicPartition(operator.names.dead_letters, number, offset + 1)
    operator.admin.delete_records([part])[part].result(30)
    operator.told("dead-letters", "retry", max(when))
    assert oldest["id"] not in letters.retried(Published(operator.settings, operator.names.control).control)


def test_functions_and_groups_tell_how_an_app_is(operator: Operator) -> None:
    operator.worker.ready()
    for number in range(3):
        operator.produce(b'{"name": "order/placed", "data": {}}', number % 2)
    operator.produce(b'{"name": "quick/asked", "data": {}}', 0)
    until(lambda: len(operator.told("runs", "list", "--status", "sleeping")) == 3, "three sleepers")
    until(lambda: operator.told("runs", "list", "--status", "completed"), "a run that completed")
    sleeper = operator.told("runs", "list", "--status", "sleeping")[0]["run_id"]
    for arguments, words in [
        (("runs", "list", "--replay", "nosuch"), "has no replay 'nosuch'"),
        (("runs", "rerun", "--replay", "nosuch"), "has no replay 'nosuch'"),
        (("runs", "cancel", "--function", "nosuch"), "has no function 'nosuch'"),
        (("runs", "rerun", sleeper), f"run {sleeper} has not ended: it is sleeping"),
    ]:
        refused = operator.command(*arguments)
        assert (refused.exit_code, refused.stdout) == (1, ""), refused.output
        assert words in refused.stderr
    nap, quick = operator.told("functions", "list")
    assert nap == {
        "id": "nap",
        "version": nap["version"],
        "triggers": ["order/placed", "order/*"],
        "options": {},
        "paused": False,
        "running": 3,
        "queued": 0,
        "figures": None,
    }
    assert (quick["id"], quick["version"], quick["running"], quick["queued"]) == ("quick", "7", 0, 0)
    lines = operator.command("functions", "list").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["nap", nap["version"], "3"], ["quick", "7", "0"]]
    until(lambda: {row["lag"] for row in operator.told("groups", "list")} == {0}, "everything to be routed")
    rows = operator.told("groups", "list")
    assert list(rows[0]) == ["group", "topic", "partition", "offset", "end", "lag", "replay_id"]
    assert [(row["partition"], row["offset"], row["end"]) for row in rows] == [(0, 3, 3), (1, 1, 1)]
    assert {(row["group"], row["topic"], row["replay_id"]) for row in rows} == {
        (operator.names.router_group, operator.names.events, None)
    }
    assert operator.command("groups", "list").stdout.splitlines()[1].split()[:4] == [rows[0]["group"], "3", "3", "0"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["dead-letters", "show", "0-99"], 1, "there is no dead letter '0-99'"),
        (["dead-letters", "retry", "9-0"], 1, "there is no dead letter '9-0'"),
        (["dead-letters", "retry", "x"], 2, "not the id of a dead letter: 'x'"),
        (["dead-letters", "retry"], 2, "ID"),
        (["dead-letters", "list", "--since", "1h", "--until", "2h"], 2, "--until is not after --since"),
        (["dead-letters", "list", "--app", "no-such-app"], 1, "there is no app 'no-such-app'"),
        (["functions", "list", "--app", "no-such-app"], 1, "there is no app 'no-such-app'"),
        (["groups", "list", "--app", "no-such-app"], 1, "there is no app 'no-such-app'"),
        (["groups", "lst"], 2, "lst"),
    ],
)
def test_errors_name_what_is_wrong(
    settings: Settings, app_name: str, arguments: list[str], code: int, message: str
) -> None:
    apply(clients.admin(settings), Names.of(app_name), 2)
    env = {
        "STREAM_ENGINE_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers),
        "STREAM_ENGINE_STATE_DIR": str(settings.state_dir),
        "STREAM_ENGINE_APP": app_name,
    }
    result = CliRunner().invoke(main, arguments, env=env)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def _message(operator: Operator, partition: int, offset: int) -> tuple[Any, Any, Any]:
    consumer = clients.reader(operator.settings)
    consumer.assign([TopicPartition(operator.names.events, partition, offset)])
    message = None
    while message is None:
        message = consumer.poll(1)
    consumer.close()
    return message.value(), message.key(), message.headers()
