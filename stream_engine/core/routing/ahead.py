"""What was routed live, by what the commands topic has: more than anybody has written down, where a router was killed.

A router writes its progress down now and then, and what it has routed since is known only by the commands that it has sent. Of an event that was to be admitted,
there is one; of one that was for nobody, none.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

from stream_engine.core.records.decoding import ForeignError, decode_commands
from stream_engine.core.records.requests import Admit
from stream_engine.core.routing.rewind import Progress

_S = TypeVar("_S")


def admitted(raw: bytes, sources: Mapping[str, _S]) -> Iterator[tuple[_S, set[int]]]:
    """Give what a record of the commands topic has admitted, as offsets of the events topic, if it is of one of some sources, and whose that is.

    Raises:
        UnreadableError: the record is of a newer engine.
    """
    try:
        commands = decode_commands(raw)
    except ForeignError:
        return
    if commands.source in sources:
        yield sources[commands.source], {number for number, one in commands.items if isinstance(one, Admit)}


def ahead(routed: Mapping[int, Collection[int]], progress: Mapping[int, Progress]) -> dict[int, set[int]]:
    """Return which of the offsets that were routed live lie at or above the progress of their partitions, by partition."""
    return {
        number: {offset for offset in offsets if offset >= progress[number].live}
        for number, offsets in routed.items()
        if number in progress
    }
