"""Cron triggers: each tick is an event on the log, sent once, by the leader of the partition that the trigger belongs to.

When the next tick is due is part of the state, and a timer fires then. So ticks outlive workers, and those that fell into a time without one
are made up for as far back as the trigger says.
"""

import msgspec

from stream_engine.core.functions.catalogue import cron_event
from stream_engine.core.functions.cron import jitter_of, next_tick
from stream_engine.core.functions.flow import Cron
from stream_engine.core.identity import home_partition
from stream_engine.core.instants import iso
from stream_engine.core.partition.outbox import topic_queue
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.tables import CRONS, Outgoing, Scheduled, Timer

_AT_ONCE = 100
"""How many ticks that were missed one decision makes up for at most."""

_NEVER = -1

IN_TIME = 60_000
"""How late a tick may be, in milliseconds, that counts as in time: as long as it takes another worker to take over, and more."""


def schedule(turn: Turn) -> None:
    """Schedule the triggers of the app's functions that belong to this partition, at the beginning of a term."""
    rules = turn.rules
    for function in rules.functions.values():
        for index, cron in enumerate(function.crons):
            if home_partition(f"cron/{function.id}/{index}", rules.partitions) == rules.partition:
                _schedule(turn, function.id, index, cron)


def fire(turn: Turn, function_id: str, index: int) -> None:
    """A trigger's timer came due: send the ticks that are, and have the next one wait.

    A trigger that the function has not any more is dropped; one of a function that is not here is left to whoever has it.
    """
    function = turn.rules.functions.get(function_id)
    key = CRONS.key(function_id, str(index))
    known = turn.state.get(CRONS, key)
    if known is None or function is None:
        return
    if index >= len(function.crons):
        turn.state.delete(key)
        return
    cron = function.crons[index]
    oldest = turn.now - max(cron.catch_up, IN_TIME)
    tick = None if known.tick == _NEVER else known.tick
    if tick is not None and tick < oldest:
        tick = next_tick(cron, oldest - 1)
    for _ in range(_AT_ONCE):
        if tick is None or tick > turn.now:
            break
        _send(turn, function_id, index, tick)
        tick = next_tick(cron, tick)
    _put(turn, function_id, index, cron, tick)


def _schedule(turn: Turn, function_id: str, index: int, cron: Cron) -> None:
    known = turn.state.get(CRONS, CRONS.key(function_id, str(index)))
    if known is None or (known.expression, known.tz) != (cron.expression, cron.tz):
        _put(turn, function_id, index, cron, next_tick(cron, turn.now))
    elif known.tick != _NEVER and known.tick <= turn.now:
        # Its timer may have fired while a worker led that does not have the function.
        turn.set_timer(known.tick, Timer("cron", function_id, str(index)))


def _put(turn: Turn, function_id: str, index: int, cron: Cron, tick: int | None) -> None:
    scheduled = Scheduled(cron.expression, cron.tz, _NEVER if tick is None else tick)
    turn.state.put(CRONS.key(function_id, str(index)), scheduled)
    if tick is not None:
        turn.set_timer(tick, Timer("cron", function_id, str(index)))


def _send(turn: Turn, function_id: str, index: int, tick: int) -> None:
    cron = turn.rules.functions[function_id].crons[index]
    at = tick + jitter_of(function_id, index, tick, cron.jitter)
    value = {
        "name": cron_event(function_id),
        "data": {"cron": cron.expression, "index": index, "tick": iso(tick)},
        "id": f"cron/{function_id}/{index}/{tick}",
        "ts": at,
    }
    topic = turn.rules.events_topic
    # Ticks that are made up for come within a millisecond, and their order is that of the log: so they are in one partition of it.
    key = f"cron/{function_id}/{index}".encode()
    turn.send(topic_queue(topic), Outgoing(topic, None, key, msgspec.json.encode(value)))
