"""The command itself: lazy, complete, and without tracebacks for what the user can mend."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaError, KafkaException

from stream_engine.cli.main import COMMANDS, main
from stream_engine.shell.clients import passes


def test_help_lists_every_command_and_imports_none() -> None:
    script = "import sys, stream_engine.cli.main as m; m.main(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    listing, _, modules = done.stdout.rstrip().rpartition("\n")
    loaded = set(modules.split())
    for name, entry in COMMANDS.items():
        assert name in listing
        assert entry.summary.split()[0] in listing
        assert entry.target.partition(":")[0] not in loaded
    assert "confluent_kafka" not in loaded


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.stdout
    assert isinstance(main.get_command(click.Context(main), name), click.Command)


def test_an_unknown_command_is_a_usage_error_that_names_it() -> None:
    result = CliRunner().invoke(main, ["brocker"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "brocker" in result.stderr


@pytest.mark.parametrize("run", ["", "nonsense", "-0", "a-b"])
def test_what_is_no_run_id_is_a_usage_error(run: str) -> None:
    result = CliRunner().invoke(main, ["runs", "show", "--", run])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"not a run id: {run!r}" in result.stderr


@pytest.mark.parametrize("topic", ["", ":0", "t:", "t:x", "t:0,", "t:-1", "t:0:1"])
def test_what_is_no_topic_with_partitions_is_a_usage_error(topic: str) -> None:
    result = CliRunner().invoke(main, ["groups", "reset", "shop.router", "--to-earliest", "--topic", topic])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{topic!r} is not TOPIC or TOPIC:NUMBER,..." in result.stderr


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("event..x", "'event..x': column 7: Syntax error: '..' cannot stand here: a dot is followed by the name of a"),
        ("data.total > 1", "(write event.data.total?)"),
        ("", "it is empty; write for example"),
        ("event.data.total + 1", "'event.data.total + 1': it gives a value of type int, and a condition is true or"),
    ],
)
def test_what_is_no_condition_is_a_usage_error(condition: str, words: str) -> None:
    start = ["replay", "start", "--function", "pay", "--from", "2h"]
    result = CliRunner().invoke(main, [*start, "--if", condition])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Invalid value for '--if': " in result.stderr
    assert words in result.stderr


def test_a_users_error_is_a_message_and_exit_code_1() -> None:
    result = CliRunner().invoke(main, ["broker", "status"], env={"STREAM_ENGINE_PARTITIONS": "many"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: STREAM_ENGINE_PARTITIONS='many': give a whole number from 1 to 1024\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_engine.shell.localbroker.status", lambda _: 1 / 0)
    result = CliRunner().invoke(main, ["broker", "status"])
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize("error", [KafkaError._TIMED_OUT, KafkaError.NOT_LEADER_FOR_PARTITION])
def test_a_broker_that_is_late_is_a_message_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def late(_: object) -> object:
        assert passes(KafkaError(error))
        raise KafkaException(KafkaError(error))

    monkeypatch.setattr("stream_engine.shell.localbroker.status", late)
    result = CliRunner().invoke(main, ["broker", "status"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Kafka does not answer: ")


@pytest.mark.parametrize("named", ["insight", "insights,bridge"])
def test_an_unknown_topology_is_a_usage_error_that_says_which_there_are(named: str) -> None:
    result = CliRunner().invoke(main, ["worker", "shop:engine", "--topology", named])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no topology {named.rsplit(',', maxsplit=1)[-1]!r}; there is insights, or module:attribute" in result.stderr


def test_one_name_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_ENGINE_KAFKA__GROUP_INSTANCE_ID", "box1")
    result = CliRunner().invoke(main, ["worker", "shop:engine", "--processes", "2"])
    assert result.exit_code == 2
    assert "names one process, and these would put each other out of the group" in " ".join(result.stderr.split())
