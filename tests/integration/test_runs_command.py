"""History on a real broker: what a leader tells is what `runs list|show` print, and what waiters see at once."""

from __future__ import annotations

import json
import re
import threading
from io import BytesIO

import fastavro
import pytest
from msgspec.structs import asdict, replace

from stream_engine.core.functions.catalogue import Catalogue, FunctionSpec
from stream_engine.core.partition.change import Told
from stream_engine.core.records.history import (
    EventDisposed,
    HistoryRecord,
    RunEnded,
)
from stream_engine.core.records.journal import Mark
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.control import Control, publish, write
from stream_engine.shell.history import schemas
from stream_engine.shell.history.codec import encode
from stream_engine.shell.history.reader import HistoryError, HistoryReader, about
from stream_engine.shell.history.schemas import PUBLISHED
from stream_engine.shell.operating.apps import apps
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import NoAnswerError
from tests.integration.telling import PARTITIONS, History, run_id, told_of


@pytest.fixture
def history(settings: Settings, app_name: str) -> History:
    return History(settings, app_name)


def test_list_filters_and_orders(history: History) -> None:
    now = now_ms()
    for number in range(6):
        records = told_of(
            number, now - 1_000 + number, "failed" if number == 2 else None if number == 3 else "completed"
        )
        history.tell(number % PARTITIONS, number, records)
        history.tell(number % PARTITIONS, number, records[1:])
    history.tell(1, 99, told_of(40, now - 3 * 86_400_000))
    assert [run["run_id"] for run in history.listed()] == [run_id(number) for number in (5, 4, 3, 2, 1, 0)]
    assert [run["run_id"] for run in history.listed("--limit", "2")] == [run_id(5), run_id(4)]
    assert [run["run_id"] for run in history.listed("--status", "failed", "--status", "running")] == [
        run_id(3),
        run_id(2),
    ]
    assert [run["run_id"] for run in history.listed("--event", "order-4")] == [run_id(4)]
    assert [run["run_id"] for run in history.listed("--since", str(now - 997))] == [run_id(5), run_id(4), run_id(3)]
    assert [run["run_id"] for run in history.listed("--until", str(now - 998))] == [run_id(1), run_id(0)]
    assert [run["run_id"] for run in history.listed("--since", "4d", "--until", "2d")] == [run_id(40)]
    assert history.listed("--function", "process-order", "--since", "1d ago") == history.listed()
    assert history.listed("--event", "order-77") == []


def test_list_prints_a_table_with_whole_ids(history: History) -> None:
    now = now_ms()
    for number in range(60):
        history.tell(number % PARTITIONS, number, told_of(number, now + number))
    result = history.command("list")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].split() == ["RUN", "STATUS", "FUNCTION", "CREATED", "TOOK", "ABOUT"]
    assert [line.split()[:3] for line in lines[1:3]] == [[run_id(n), "completed", "process-order"] for n in (59, 58)]
    assert len(lines) == 51
    assert result.stderr == "these are the newest 50; --limit shows more\n"


def test_show_draws_a_run_and_prints_it_as_json(history: History) -> None:
    now = now_ms()
    history.tell(1, 1, told_of(1, now - 1_000))
    shown = history.command("show", run_id(1))
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith(f"run {run_id(1)}  completed\n")
    assert "charge  run  " in shown.stdout
    assert "completed, 1 retry" in shown.stdout
    assert "charge: GatewayError: 503" in shown.stdout
    [listed] = history.listed()
    document = json.loads(history.command("show", run_id(1), "--json").stdout)
    assert document == listed
    assert document["result"] == "done"
    assert document["steps"][0]["result"] == {"id": 7}


def test_show_finds_a_run_that_began_long_ago(history: History) -> None:
    now, producer, run = now_ms(), clients.producer(history.settings), run_id(1)
    days_ago = now - 3 * 86_400_000
    told = told_of(1, days_ago, None)
    ended: list[HistoryRecord] = [RunEnded(now, run, "process-order", "1", "completed", days_ago, 0)]
    for at, n, records in ((days_ago, 1, told), (now, 2, ended)):
        for key, value in encode(Told(Mark(n, 1, n), records), 1):
            producer.produce(history.topic, value, key, 1, timestamp=at)
    assert producer.flush(30) == 0
    document = json.loads(history.command("show", run, "--json").stdout)
    assert (document["status"], document["event_id"], len(document["steps"])) == ("completed", "order-1", 1)
    assert history.listed() == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", run_id(7)], 1, f"there is no run '{run_id(7)}' in the history of"),
        (["show", "a-99"], 1, "there is no run 'a-99'"),
        (["show", "nonsense"], 2, "not a run id: 'nonsense'"),
        (["list", "--app", "no-such-app"], 1, "there is no app 'no-such-app'"),
        (["list", "--since", "then"], 2, "'then' is not a time"),
        (["list", "--status", "asleep"], 2, "'asleep'"),
        (["list", "--since", "1h", "--until", "2h"], 2, "--until is not after --since"),
        (["list", "--limit", "0"], 2, "--limit"),
        (["list", "--colour"], 2, "--colour"),
    ],
)
def test_errors_name_what_is_wrong(history: History, arguments: list[str], code: int, message: str) -> None:
    result = history.command(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_an_event_tells_what_became_of_it_function_by_function(history: History) -> None:
    now = now_ms()
    dropped = EventDisposed(now, "mail", "order/placed", "order-3", "e", 0, 3, "rate-limited")
    history.tell(0, 1, [replace(dropped, gate="rate limit", gate_key="ada")])
    shown = history.command("show", "--event", "order-3")
    assert shown.exit_code == 0, shown.output
    assert "rate-limited" in shown.stdout
    assert "rate limit of ada" in shown.stdout
    [place] = json.loads(history.command("show", "--event", "order-3", "--json").stdout)
    [outcome] = place["functions"]
    assert (outcome["function"], outcome["disposition"], outcome["gate"]) == ("mail", "rate-limited", "rate limit")
    missing = history.command("show", "--event", "order-99")
    assert missing.exit_code == 1
    assert "tells nothing of an event 'order-99'" in missing.stderr


def test_what_waits_is_listed_with_what_it_waits_for(history: History) -> None:
    now = now_ms()
    waits = EventDisposed(now, "pay", "order/placed", "order-5", "e", 0, 5, "queued", run_id(5))
    told = replace(waits, gate="throttle", gate_key="ada", place=2, earliest=now + 60_000)
    history.tell(5 % PARTITIONS, 1, [told])
    history.tell(0, 2, told_of(3, now))
    [run] = history.listed("--waiting")
    assert run["run_id"] == run_id(5)
    assert re.match("throttle of ada, 2 waited when it came, since .*Z, not before ", run["waiting_on"])
    both = history.command("list", "--waiting", "--status", "failed")
    assert both.exit_code == 2
    assert "--waiting stands for" in both.stderr


def test_the_app_is_found_by_its_topics(history: History) -> None:
    assert history.app in apps(history.settings)


def test_a_broker_that_is_not_there_is_said(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_engine.shell.history.reader.ANSWER_SECONDS", 1)
    gone = Settings(state_dir=history.settings.state_dir, bootstrap_servers="127.0.0.1:1")
    with (
        HistoryReader(gone, history.app) as reader,
        pytest.raises(NoAnswerError, match=r"127\.0\.0\.1:1 does not answer"),
    ):
        reader.partitions()


def test_a_reader_reads_to_the_end_it_saw_and_decodes_what_it_wants(history: History) -> None:
    now = now_ms()
    history.tell_runs(range(9), now)
    seen: list[tuple[int, int]] = []
    with HistoryReader(history.settings, history.app) as reader:
        span = reader.span(reader.partitions())
        history.tell(0, 50, told_of(30, now))
        everything = [entry for batch in reader.read(span, progress=lambda *told: seen.append(told)) for entry in batch]
        wanted = [entry for batch in reader.read(span, about([run_id(4)])) for entry in batch]
        of_event = [entry for batch in reader.read(span, about(events=["order-5"])) for entry in batch]
        assert list(reader.read(reader.span(reader.partitions(), since=now + 3_600_000))) == []
    assert len(everything) == 36
    assert seen[-1] == (36, 36)
    assert {entry.record.run_id for entry in wanted} == {run_id(4)}
    assert len(wanted) == 4
    assert [entry.record.run_id for entry in of_event] == [run_id(5)] * 4


def test_a_reader_goes_on_where_retention_has_left_the_log(history: History) -> None:
    history.tell_runs(range(9), now_ms())
    with HistoryReader(history.settings, history.app) as reader:
        span = reader.span(reader.partitions())
        history.expire({0: 7, 1: 12})
        left = [entry for batch in reader.read(span) for entry in batch]
    assert len(left) == 5 + 0 + 12


def test_a_reader_follows_what_is_told(history: History) -> None:
    now = now_ms()
    ended: list[str] = []
    with HistoryReader(history.settings, history.app) as reader:
        start = reader.span(reader.partitions()).end
        teller = threading.Timer(0.2, history.tell_runs, [range(5), now])
        teller.start()
        for batch in reader.follow(start, about(events=["order-4"]), seconds=30):
            ended.extend(entry.record.run_id for entry in batch if isinstance(entry.record, RunEnded))
            if ended:
                break
        teller.join()
        assert list(reader.follow(reader.span([0]).end, about(), seconds=0.3)).count([]) >= 2
    assert ended == [run_id(4)]


def test_a_disposition_reaches_who_follows_its_event(history: History) -> None:
    paused = EventDisposed(now_ms(), "f", "order/placed", "order-x", "shop.events", 0, 1, "paused")
    with HistoryReader(history.settings, history.app) as reader:
        start = reader.span([2]).end
        history.tell(2, 1, [paused])
        batches = reader.follow(start, about(events=["order-x"]), seconds=30)
        assert next(batch for batch in batches if batch)[0].record == paused


def test_a_reader_of_a_missing_topic_says_so(settings: Settings) -> None:
    with (
        HistoryReader(settings, "no-such-app") as reader,
        pytest.raises(HistoryError, match=r"no topic no-such-app\.history"),
    ):
        reader.partitions()


def test_a_function_that_nobody_has_published_is_an_error(history: History) -> None:
    assert history.listed("--function", "proces-order") == []
    producer, reader = clients.producer(history.settings), clients.reader(history.settings)
    topic = Names.of(history.app).control
    catalogue = Catalogue({"process-order": FunctionSpec("process-order", ["order/placed"], ["1"])})
    control = Control(reader, topic)
    control.read_to_end()
    publish(producer, topic, control, catalogue, activate=False, now=now_ms())
    reader.close()
    assert history.listed("--function", "process-order") == []
    unknown = history.command("list", "--function", "proces-order")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "has no function 'proces-order'; it has process-order" in unknown.stderr


def test_a_newer_versions_records_are_read_by_the_schema_that_it_published(history: History) -> None:
    newer = json.loads(schemas.load()[RunEnded].text)
    newer["fields"].append({"name": "note", "type": "string", "default": ""})
    ended = RunEnded(now_ms(), run_id(1), "process-order", "1", "completed", 0, 0)
    body = BytesIO()
    fastavro.schemaless_writer(body, schemas.parse(newer), {"id": "1.1.1.0", **asdict(ended), "note": "new"})
    fingerprint = schemas.fingerprint_of(newer)
    producer = clients.producer(history.settings)
    write(producer, Names.of(history.app).control, {PUBLISHED + fingerprint.hex(): json.dumps(newer).encode()})
    producer.produce(history.topic, b"\xc3\x01" + fingerprint + body.getvalue(), ended.run_id, 1)
    assert producer.flush(30) == 0
    document = json.loads(history.command("show", ended.run_id, "--json").stdout)
    assert document["status"] == "completed"
