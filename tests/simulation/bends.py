"""Worlds in which something rare happens often: what a seed draws, but for what matters."""

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.schedule import Faults
from tests.simulation.world import Config

Bend = Callable[[Config], Config]

_PLAIN = Config(
    workers=1,
    partitions=1,
    events_partitions=1,
    events=9,
    lasts_ms=600,
    faults=Faults(),
    rolling=False,
    checkpoint_bytes=1_000,
    places=1_000,
    flows=False,
    record_bytes=2_000,
    waits=False,
)


def stops_replays_at_once(config: Config) -> Config:
    """Have one worker that nothing happens to, and an operator who pauses replays while their first runs begin."""
    return replace(_PLAIN, lasts_ms=300, record_bytes=config.record_bytes, replays=3, halts=3, hasty=True)


def loses_members_and_pauses_replays(config: Config) -> Config:
    """Have workers be gone from their group again and again while replays are halted."""
    faults = Faults(crash=config.faults.crash, pause=0.05, kills=10.0, rebalances=20.0)
    return replace(_PLAIN, workers=3, partitions=config.partitions, faults=faults, replays=2, halts=12)


def halts_many_replays(config: Config) -> Config:
    """Have so many replays be halted while their events gather and wait that some are cancelled whose events were taken out of batches before."""
    drawn = replace(_PLAIN, workers=2, partitions=3, events=20, lasts_ms=1_500, faults=Faults(pause=0.02))
    return replace(drawn, flows=True, replays=12, halts=100)


def hesitates_over_replays(config: Config) -> Config:
    """Have replays be paused and resumed faster than gates answer, whose messages are late, and nothing but slots be waited for."""
    drawn = replace(_PLAIN, workers=2, partitions=3, events=20, lasts_ms=1_000, faults=Faults({"late": 0.1}))
    return replace(drawn, flows=True, slots=2, replays=3, halts=300, hesitant=True)


def has_slow_lanes(config: Config) -> Config:
    """Have events be routed late, and clocks agree, so that it is known to the millisecond what should have been."""
    drawn = replace(_PLAIN, workers=config.workers, partitions=config.partitions, record_bytes=config.record_bytes)
    return replace(drawn, graphs=True, lasts_ms=3_000, faults=Faults(lag=1_000), clocks_agree=True)


def has_full_records(config: Config) -> Config:
    """Have what runs do take many records, one behind the other, while events come that are waited for by several names."""
    drawn = replace(_PLAIN, workers=config.workers, events_partitions=config.events_partitions)
    return replace(drawn, graphs=True, record_bytes=200, clocks_agree=True)


def lacks_leaders(config: Config) -> Config:
    """Have the only worker die or stand still again and again, while clocks agree."""
    return replace(_PLAIN, graphs=True, lasts_ms=3_000, faults=Faults(pause=0.02, kills=10.0), clocks_agree=True)
