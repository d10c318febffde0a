"""Which of a worker's clients have lost all brokers for good.

A cluster whose only broker is fenced for a moment, as one is that has stood still for some seconds, answers that there are no brokers. A client that hears so drops the brokers that it knew; it
begins anew with the addresses that it was given, unless it hears so at a bad moment: then it asks nobody any more (librdkafka#5301, of 2.11 to 2.16), however well Kafka is from then on. It reads
and writes nothing, and no callback tells of it. But its statistics list no broker then, except for a consumer the coordinator of its group, which it does not ask.

Clients that are asked or written by now and then are made anew where they have failed. Those here are at work all the time, and hold what cannot be had twice, such as the place in a group.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from stream_engine.shell.clock import monotonic

_EVERY_SECONDS: Final = 5.0
_FOR_GOOD_SECONDS: Final = 30.0
"""A client that is going to ask its first brokers again lists them at once, whether they answer or not."""
_COORDINATOR: Final = "logical"


class _Broker(msgspec.Struct):
    source: str


class _Statistics(msgspec.Struct):
    brokers: dict[str, _Broker]


_decode: Final = msgspec.json.Decoder(_Statistics).decode


class Stranded:
    """Hears the statistics of the clients that are made with its properties; each has to be polled all the time, or what it tells piles up."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    def watched(self, what: str) -> dict[str, Any]:
        """Return the properties of a client that is named by what goes through it."""
        return {"statistics.interval.ms": int(_EVERY_SECONDS * 1_000), "stats_cb": partial(self._note, what)}

    def lost(self) -> list[str]:
        """Return what does not go on; from any thread. A client that has been closed since does not either, but is not missed."""
        now = self._clock()
        return sorted(
            what
            for what, since in self._since.copy().items()
            if since <= now - _FOR_GOOD_SECONDS and self._heard.get(what, 0.0) > now - 3 * _EVERY_SECONDS
        )

    def _note(self, what: str, statistics: str) -> None:
        now = self._clock()
        if any(broker.source != _COORDINATOR for broker in _decode(statistics).brokers.values()):
            self._since.pop(what, None)
        else:
            self._since.setdefault(what, now)
        # Last, so that who looks meanwhile does not take what an earlier client of the same name has told for what this one does.
        self._heard[what] = now
