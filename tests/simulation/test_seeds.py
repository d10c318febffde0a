"""Two thousand worlds hold every invariant, and things do go wrong in them."""

import os

import pytest

from tests.simulation.bends import halts_many_replays
from tests.simulation.campaign import campaign, live
from tests.simulation.coordination_mutants import COORDINATION_MUTANTS
from tests.simulation.gate_mutants import GATE_MUTANTS
from tests.simulation.graph_mutants import GRAPH_MUTANTS
from tests.simulation.kafka import FATES
from tests.simulation.leading import Leading
from tests.simulation.mutant import Mutant
from tests.simulation.mutants import MUTANTS
from tests.simulation.referee import ViolationError
from tests.simulation.replay_mutants import REPLAY_MUTANTS
from tests.simulation.schedule import Host
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
    *("step returned", "lent step recorded", "step interrupted"),
    *("call answered", "call failed", "child cancelled"),
    *("completion completed", "completion already-completed", "completion timed-out", "completion run-ended"),
    *(
        "scan",
        "offered by a scan",
        "wait answered",
        "wait in vain",
        "events still to be routed at a wait's end",
        "run cancelled by an event",
    ),
    *("wait answered with what had come before it", "wait answered with what a run sent"),
    *("run timed out", "run timed out before it began", "cancel handled"),
    *("crash after scan produced", "pause after scan produced"),
    *("replay", "rewind", "rewinds cut short", "runs of replays", "crash for a rewind"),
    *("pause of a replay", "resume of a replay", "cancel of a replay", "command about a replay returned"),
    *("pause of a function", "event paused", "replayed run gathered", "replayed run waits at a gate"),
    *("crash after beginning committed", "crash after beginning written", "crash after progress written"),
    *("crash after chunk appended", "crash after restoring", "pause after snapshot under way"),
]


def test_every_invariant_holds_in_every_world() -> None:
    """And every kind of fault that the simulation has did strike."""
    # Processes of pytest-xdist have the other cores.
    outcome = campaign(range(SEEDS), jobs=1 if "PYTEST_XDIST_WORKER" in os.environ else os.cpu_count() or 1)
    assert not outcome.failures, "\n\n".join(outcome.failures.values())
    assert outcome.seeds == SEEDS
    assert [what for what in HAPPENS if not outcome.counts[what]] == []


@pytest.mark.parametrize("seed", [60916, 60984, 62328, 63401, 64873])
def test_events_are_taken_out_of_batches_that_go_on(seed: int) -> None:
    """What the worlds above do not have: it takes several events in a batch, and one of their cancels in time."""
    World(seed).run()


def test_the_end_of_a_wait_does_not_overtake_events_that_its_partition_has_yet_to_take() -> None:
    """What few worlds have: a leader was away for the end of a wait, whose events come to the partition of its own run."""
    World(1937).run()


@pytest.mark.parametrize("seed", [2, 10, 17, 25, 32])
def test_a_worker_dies_when_it_has_written_a_rewind_down(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What chance does in few worlds: whoever takes over goes by the same rewind."""
    pass_by = Host.point

    def point(host: Host, label: str) -> None:
        if label == "rewind written" and not host.schedule.counts[f"crash after {label}"]:
            host.crash(f"after {label}")
        else:
            pass_by(host, label)

    monkeypatch.setattr(Host, "point", point)
    world = World(seed)
    world.run()
    assert world.counts()["crash after rewind written"]


@pytest.mark.parametrize("seed", [8824, 10674, 13433])
def test_who_was_gone_from_the_group_while_a_replay_was_halted_begins_nothing_of_it_later(seed: int) -> None:
    """What few worlds have: nobody waited for this worker, which then took a partition over."""
    World(seed).run()


@pytest.mark.parametrize("seed", [14, 95])
def test_a_replay_is_cancelled_whose_batches_have_lost_their_first_events(seed: int) -> None:
    """What few worlds have: it takes a cancelled event in a batch that goes on, and a cancel of its replay."""
    World(seed, bend=halts_many_replays).run()


@pytest.mark.parametrize("seed", [909, 2426, 2980, 14587])
def test_gates_of_replays_are_judged_right(seed: int) -> None:
    """What few worlds have: an event that is cancelled ends what a debounce gathers, or is in no batch from the first, and a singleton has live and replayed runs wait."""
    World(seed).run()


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
    [*MUTANTS, *GATE_MUTANTS, *GRAPH_MUTANTS, *WAIT_MUTANTS, *REPLAY_MUTANTS, *COORDINATION_MUTANTS],
    ids=lambda mutant: mutant.name.replace(" ", "-"),
)
def test_a_bug_put_back_is_caught(mutant: Mutant) -> None:
    """The simulation is only worth what it finds."""
    with mutant.alive() as parts:
        for seed in (mutant.noticed_by, *range(ENOUGH_FOR_A_MUTANT)):
            try:
                World(seed, parts, mutant.bend).run()
            except ViolationError:
                return
    pytest.fail(f"{ENOUGH_FOR_A_MUTANT} seeds do not notice: {mutant.name}")
