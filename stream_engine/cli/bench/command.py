"""The command: workers of the bench app in processes of their own, load from this one, and a line for each figure."""

from collections.abc import Callable, Iterator
from typing import Final

import click

from stream_engine.cli.bench import (
    age,
    burst,
    callbacks,
    gates,
    index,
    invokes,
    load,
    processes,
    replays,
    restarts,
    sleepers,
    takeover,
    waiting,
    waits,
)
from stream_engine.cli.bench.figure import Figure
from stream_engine.cli.bench.ground import Ground
from stream_engine.cli.output import print_json
from stream_engine.shell.localbroker import connected
from stream_engine.shell.settings import Settings

Measure = Callable[[Ground, int], Iterator[Figure]]

KINDS: Final[dict[str, tuple[Measure, int]]] = {
    "load": (load.measure, 40_000),
    "processes": (processes.measure, 40_000),
    "burst": (burst.measure, 1_000_000),
    "sleepers": (sleepers.measure, 100_000),
    "takeover": (takeover.measure, 1_024),
    "restarts": (restarts.measure, 3),
    "gates": (gates.measure, 10_000),
    "waiting": (waiting.measure, 1_000_000),
    "age": (age.measure, 5_000_000),
    "index": (index.measure, 1_000_000),
    "invokes": (invokes.measure, 10_000),
    "waits": (waits.measure, 100_000),
    "callbacks": (callbacks.measure, 10_000),
    "replay": (replays.measure, 40_000),
}
"""What can be measured, and how much of it by default."""


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)), default="load")
@click.option("--count", type=click.IntRange(1), help="How much of it; see below.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def bench(kind: str, count: int | None, *, as_json: bool) -> None:
    """Measure what the engine does here, with default settings, broker and load on the same machine.

    \b
    KIND      --count
    load      40,000     one-step runs, and others in proportion; and latencies
    processes 40,000     one-step runs, and steps, of 1, 2 and 4 processes side by side
    burst     1,000,000  events at once on a function that is slow, and what becomes of others
    sleepers  100,000    runs that sleep: their memory, and how late they are woken
    takeover  1,024      MiB of state of a partition, and how long it stands still when it gets another leader
    restarts  3          workers that are restarted one after the other, and how much longer runs take meanwhile
    gates     10,000     events through each gate of flow control, and 20,000 runs that go on one at a time for each of 100 keys
    waiting   1,000,000  runs that wait at one gate, and a tenth and a thousandth of them
    age       5,000,000  steps, and what they leave behind: on disk, on Kafka, in memory, in the time of a start
    index     1,000,000  runs that history tells of: how long the run index takes for them, and how long listings take
    waits     100,000    runs that wait for events: memory, and how fast they are matched; and 10,000 whose events are sent at once: none may be missed
    invokes   10,000     functions that call another one: how long a call takes, and how many are done in a second
    callbacks 10,000     runs that wait for somebody: how long a completion takes, and how many are completed in a second
    replay    40,000     one-step runs that are replayed, once and three times side by side, and how long live ones take meanwhile
    """
    measure, usual = KINDS[kind]
    with Ground(connected(Settings.from_env())) as ground:
        figures = list(measure(ground, count or usual))
    if as_json:
        print_json(figures)
        return
    for figure in figures:
        click.echo(f"{figure.name:65} {figure.value:12,.2f} {figure.unit}")
