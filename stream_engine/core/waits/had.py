"""What runs have had of the events of a slot, as that knows it: so different waits of a run get different events, and need not say what the run has had.

What is answered is remembered for as long as the event was to be kept. That is never wrong: the answer is the result of a step, or the run has had the event from
another slot, or has ended. What a run has had from other slots is heard of when it asks again, and is remembered as well.
"""

from stream_engine.core.identity import digest
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.wait_tables import HAD, Had
from stream_engine.core.records.wanted import Await
from stream_engine.core.waits.interests import slot


def has_had(turn: Turn, asked: Await, identity: str) -> bool:
    """Return whether the run that waits is known to have had an event, or to be about it. What cancels a run does so whatever its waits get."""
    if identity in asked.taken:
        return True
    return not asked.cancels and turn.state.get(HAD, _key(asked, identity)) is not None


def remember(turn: Turn, asked: Await, identity: str, until: int) -> None:
    """Remember until a time that the run that waits has had an event."""
    key = _key(asked, identity)
    if turn.state.get(HAD, key) is None:
        turn.state.put(key, Had(until))
        turn.forget.append((until, key))


def start_of_search(turn: Turn, asked: Await, behind: bytes) -> bytes:
    """Return behind which place there may be an event that the run has not had, of those behind a place."""
    return behind if asked.cancels else turn.reached.start(slot(asked.wanted), _run(asked), behind)


def had_up_to(turn: Turn, asked: Await, begun: bytes, place: bytes) -> None:
    """Note that the run has had all events from where a search has begun up to a place."""
    if not asked.cancels:
        turn.reached.reach(slot(asked.wanted), _run(asked), begun, place)


def _run(asked: Await) -> str:
    """Return what tells a run from all others, a later one of the same event among them, which has the same id and has had nothing."""
    return f"{asked.run_id}/{asked.created_at}"


def _key(asked: Await, identity: str) -> bytes:
    return HAD.key(slot(asked.wanted), digest(_run(asked), identity))
