"""Runs that filters find are run again on a real broker, but for those that cannot be."""

import json

import pytest

from stream_engine.core.instants import iso
from stream_engine.shell.clock import now_ms
from tests.integration.behaviours.commands import command
from tests.integration.behaviours.deploys import Deploys


@pytest.mark.parametrize("deploys", ["family.py"], indirect=True)
def test_what_cannot_be_run_again_is_passed_over_with_its_reason(deploys: Deploys) -> None:
    deploys.deploy(BEHAVIOURS_BUG="1")
    deploys.served.send({"name": "family", "data": {}}, partition=1)
    ended = deploys.served.told("RunEnded", 3, status="failed")
    runs = {one["function"].partition(":")[2] or one["function"]: one["run_id"] for one in ended}
    deploys.deploy()
    rerun = ("runs", "rerun", "--status", "failed")
    reasons = [
        f"passed over: run {runs['child']} was invoked by a step of run {runs['parent']}, and no event has triggered it",
        f"passed over: run {runs['on_failure']} is that of a handler (parent:on_failure), and has no event",
    ]
    preview = command(deploys, *rerun)
    assert (preview.exit_code, preview.stdout) == (1, ""), preview.output
    for words in (*reasons, "add --yes to run these 1 runs again", runs["parent"]):
        assert words in preview.stderr
    done = command(deploys, *rerun, "--yes", "--json")
    assert done.exit_code == 1, done.output
    for words in (*reasons, "1 runs are run again, 2 of 3 are not"):
        assert words in done.stderr
    [begun] = json.loads(done.stdout)
    assert begun["rerun_of"] == runs["parent"]
    assert deploys.served.result(begun["run_id"]) == "mended"
    # Whoever names runs wants all of them.
    named = command(deploys, "runs", "rerun", runs["parent"], runs["child"])
    assert (named.exit_code, named.stdout) == (1, ""), named.output
    assert "was invoked by a step" in named.stderr
    none = command(deploys, *rerun, "--function", "child", "--yes")
    assert (none.exit_code, none.stdout) == (1, ""), none.output
    assert "nothing is run again" in none.stderr


@pytest.mark.parametrize("deploys", ["family.py"], indirect=True)
def test_what_cannot_be_replayed_has_words_of_its_own(deploys: Deploys) -> None:
    deploys.deploy(BEHAVIOURS_BUG="1")
    since = str(now_ms())
    deploys.served.send({"name": "family", "data": {}}, partition=1)
    deploys.served.told("RunEnded", 3, status="failed")
    start = ("replay", "start", "--from", since, "--function")
    future = iso(now_ms() + 3_600_000)
    for arguments, code, words in [
        ((*start, "child"), 1, "child has no trigger: a run that was invoked has no event"),
        ((*start, "child", "--status", "failed"), 1, "1 such runs were invoked by steps of others"),
        (("replay", "start", "--function", "parent", "--from", future), 1, "there are no events of that time yet"),
    ]:
        done = command(deploys, *arguments)
        assert (done.exit_code, done.stdout) == (code, ""), done.output
        assert words in done.stderr
    assert command(deploys, "functions", "pause", "parent").exit_code == 0
    dry = command(deploys, *start, "parent", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "1 events of parent" in dry.stderr
    assert "parent is paused: it is to be resumed before" in dry.stderr
    refused = command(deploys, *start, "parent")
    assert (refused.exit_code, refused.stdout) == (1, ""), refused.output
    assert "functions resume" in refused.stderr
