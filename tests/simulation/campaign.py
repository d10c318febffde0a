"""Run many simulated worlds, one for each seed.

::

    python -m tests.simulation --seeds 2000 [--from N] [--jobs 2]

A world is drawn from its seed alone, so ``--from N --seeds 1`` lives it again. The report says how often each kind of fault
happened, because a simulation in which nothing goes wrong proves nothing. A failing seed prints the invariant that does not
hold, its configuration, and the tail of its diary; the exit status is 1.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.simulation.world import World

_CHUNK = 25


@dataclass
class Outcome:
    """What many seeds came to."""

    seeds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)


def live(seed: int) -> tuple[Counter[str], str | None]:
    """Live the world of a seed; return what happened in it, and what is wrong, if anything."""
    world = World(seed)
    try:
        world.run()
    except Exception as error:  # noqa: BLE001 - whatever a world ends with is the finding, and must name its seed
        text = f"seed {seed}: {type(error).__name__}: {error}\n{world.config}\n{world.schedule.diary()}"
        return world.counts(), text
    return world.counts(), None


def live_all(seeds: Iterable[int]) -> Outcome:
    """Live the worlds of some seeds, one after the other."""
    outcome = Outcome()
    for seed in seeds:
        counts, failure = live(seed)
        outcome.seeds += 1
        outcome.counts += counts
        if failure is not None:
            outcome.failures[seed] = failure
    return outcome


def campaign(seeds: range, jobs: int) -> Outcome:
    """Live the worlds of some seeds in several processes."""
    total = Outcome()
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for outcome in pool.map(live_all, chunks):
            total.seeds += outcome.seeds
            total.counts += outcome.counts
            total.failures |= outcome.failures
    return total


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2_000, help="how many worlds to live")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes to use")
    arguments = parser.parse_args()
    began = time.monotonic()
    outcome = campaign(range(arguments.first, arguments.first + arguments.seeds), arguments.jobs)
    for failure in outcome.failures.values():
        sys.stdout.write(f"{failure}\n\n")
    for what, number in sorted(outcome.counts.items()):
        sys.stdout.write(f"{number:10}  {what}\n")
    seconds = time.monotonic() - began
    sys.stdout.write(f"{outcome.seeds} seeds in {seconds:.1f} s, {len(outcome.failures)} failed\n")
    return 1 if outcome.failures else 0
