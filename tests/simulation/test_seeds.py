"""Two thousand worlds hold every invariant, and things do go wrong in them."""

import os

import pytest

from tests.simulation.campaign import campaign, live
from tests.simulation.gate_mutants import GATE_MUTANTS
from tests.simulation.graph_mutants import GRAPH_MUTANTS
from tests.simulation.kafka import FATES
from tests.simulation.leading import Leading
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.referee import ViolationError
from tests.simulation.replay_mutants import REPLAY_MUTANTS
from tests.simulation.wait_mutants import WAIT_MUTANTS
from tests.simulation.world import World

SEEDS = 2_000
ENOUGH_FOR_A_MUTANT = SEEDS

HAPPENS = [
    *(f"append {fate}" for fate in FATES),
    *("crash after claim appended", "crash after record decided", "crash after record appended"),
    *("crash after record reported", "crash after acknowledged", "crash after written", "crash after replay"),
    *("crash after send", "crash after tell", "crash after effect", "crash after resend", "crash after retell"),
    *("crash after routed", "crash after route produced", "crash after router commit", "crash after step body"),
    *("pause after record reported", "pause after acknowledged", "pause after written", "pause after effect"),
    *(
        "rebalance",
        "commit refused",
        "commit by another member",
        "deposed",
        "lease expired",
        "step begun by a deposed leader",
    ),
    *("store kept", "store newest lost", "store writes lost", "store disk lost"),
    *("record of an older epoch", "record behind a gap"),
    *(
        "event duplicate",
        "event delayed",
        "event queued",
        "run moved",
        "run parked",
        "run retrying",
        "run unloaded",
        "run loaded again",
        "run running",
        "run queued",
        "all places taken",
        "record full",
    ),
    *("waits at concurrency", "waits at throttle", "waits at singleton", "waits at debounce", "waits at batch"),
    *("event coalesced", "event batched", "event rate-limited", "event skipped", "event cancelled", "run stopped"),
    "runs of handlers",
    *("snapshot written", "snapshot abandoned", "snapshot spoiled", "restored", "restoration interrupted"),
    *("trimmed journal", "trimmed commands", "trimmed state", "trim undone", "read what was trimmed"),
    *("followed", "crash after follow", "pause after follow"),
    *("step returned", "lent step recorded"),
    *("call answered", "call failed", "child cancelled"),
    *("completion completed", "completion already-completed", "completion timed-out", "completion run-ended"),
    *("scan", "offered by a scan", "wait answered", "wait in vain", "run cancelled by an event"),
    *("crash after scan produced", "pause after scan produced"),
    *("replay", "rewind", "rewinds cut short", "runs of replays", "crash for a rewind", "crash after rewind written"),
    *("crash after beginning committed", "crash after beginning written", "crash after progress written"),
    *("crash after chunk appended", "crash after restoring", "pause after snapshot under way"),
]


def test_every_invariant_holds_in_every_world() -> None:
    """And every kind of fault that the simulation has did strike."""
    outcome = campaign(range(SEEDS), jobs=os.cpu_count() or 1)
    assert not outcome.failures, "\n\n".join(outcome.failures.values())
    assert outcome.seeds == SEEDS
    assert [what for what in HAPPENS if not outcome.counts[what]] == []


def test_a_seed_is_lived_again_exactly() -> None:
    """Otherwise a failing seed would be of no use."""
    first, second = World(5), World(5)
    first.run()
    second.run()
    assert first.schedule.diary() == second.schedule.diary()
    assert live(5) == (first.counts(), None)


def test_a_failing_seed_says_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number, what does not hold, how the world was, and what happened last."""
    monkeypatch.setattr(Leading, "write", lambda self, change: self.site.referee.object(3, "the disk is full of sand"))
    _, failure = live(7)
    assert failure is not None
    assert failure.startswith("seed 7: ViolationError: invariant 3: the disk is full of sand\nConfig(")
    assert "append" in failure


@pytest.mark.parametrize(
    "mutant",
    [*MUTANTS, *GATE_MUTANTS, *GRAPH_MUTANTS, *WAIT_MUTANTS, *REPLAY_MUTANTS],
    ids=lambda mutant: mutant.name.replace(" ", "-"),
)
def test_a_bug_put_back_is_caught(mutant: Mutant) -> None:
    """The simulation is only worth what it finds."""
    with mutant.alive() as parts:
        for seed in range(ENOUGH_FOR_A_MUTANT):
            try:
                World(seed, parts).run()
            except ViolationError:
                return
    pytest.fail(f"{ENOUGH_FOR_A_MUTANT} seeds do not notice: {mutant.name}")
