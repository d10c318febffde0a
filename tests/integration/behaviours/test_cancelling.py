"""Runs are cancelled on a real broker: by programs, and from the command line."""

import json
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from stream_engine import RunCancelled
from stream_engine.cli.main import main
from tests.integration.behaviours.served import Here


def runs(served: Here, *arguments: str) -> Result:
    """Run ``stream-engine runs`` about the app."""
    env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": served.servers, "STREAM_ENGINE_APP": served.name}
    return CliRunner().invoke(main, ["runs", *arguments], env=env)


def asleep(served: Here, gate: str) -> str:
    """Start a run that sleeps for a day; return its id."""
    handle = served.app.undoable.start_sync({"gate": gate})
    served.open(gate)
    served.told("StepRecorded", run_id=handle.run_id, status="sleeping")
    return str(handle.run_id)


def test_a_program_cancels_a_step_in_flight(served: Here) -> None:
    gate = uuid4().hex
    handle = served.app.undoable.start_sync({"gate": gate})
    served.reached(gate)
    handle.cancel("no longer wanted")
    with pytest.raises(RunCancelled, match="no longer wanted"):
        handle.result(timeout="60s")
    assert served.steps(handle.run_id) == [("gate", "interrupted", 0)]
    shown = runs(served, "show", handle.run_id)
    assert "interrupted" in shown.stdout
    [started] = served.told("RunStarted", of_run=handle.run_id)
    assert served.result(started["run_id"]) == f"undone {gate}"


def test_a_request_may_be_ahead_of_its_run(served: Here) -> None:
    for _ in range(20):
        handle = served.app.undoable.start_sync({"gate": uuid4().hex}, delay="1h")
        handle.cancel()
        with pytest.raises(RunCancelled):
            handle.result(timeout="60s")
        served.told("RunStarted", of_run=handle.run_id)


def test_the_command_line_cancels_by_id_and_says_what_has_ended(served: Here) -> None:
    sleeping, (done, _) = asleep(served, uuid4().hex), served.run("catch")
    cancelled = runs(served, "cancel", sleeping, done, "--reason", "a test")
    assert (cancelled.exit_code, cancelled.stdout) == (1, f"{sleeping}  cancelled\n"), cancelled.output
    assert f"run {done} cannot be cancelled: it is completed already" in cancelled.stderr
    shown = runs(served, "show", sleeping)
    assert "stream-engine runs cancel" in shown.stdout
    assert ": a test" in shown.stdout
    again = runs(served, "cancel", sleeping)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "it is cancelled already" in again.stderr
    unknown = runs(served, "cancel", f"{'f' * 24}-0")
    assert unknown.exit_code == 1
    assert "there is no run" in unknown.stderr


def test_the_command_line_cancels_by_filters_after_a_preview(served: Here) -> None:
    before = json.loads(runs(served, "list", "--json", "--function", "undoable", "--status", "sleeping").stdout)
    assert before == []
    sleeping = {asleep(served, uuid4().hex) for _ in range(3)}
    filters = ("--function", "undoable", "--status", "sleeping")
    preview = runs(served, "cancel", *filters)
    assert preview.exit_code == 1
    assert all(run in preview.stdout for run in sleeping)
    assert "add --yes to cancel these 3 runs" in preview.stderr
    cancelled = runs(served, "cancel", *filters, "--yes")
    assert cancelled.exit_code == 0, cancelled.output
    assert {line.split()[0] for line in cancelled.stdout.splitlines()} == sleeping
    assert runs(served, "cancel", *filters, "--yes").exit_code == 1
    assert runs(served, "cancel").exit_code == 2
