"""Bugs in how events are routed once more, which the simulation must catch; see `tests.simulation.mutants`."""

from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from stream_engine.core import route
from stream_engine.core.intake import router_source
from stream_engine.core.replay import Extent
from stream_engine.core.rewind import Course, Progress, Rewind
from tests.simulation import again
from tests.simulation.mutants import Mutant


def _knows_no_rewind(topic_id: str, partition: int, committed: Any, *known: Any) -> Course | None:
    own = committed.get(partition)
    return None if own is None else Course(Progress(0, own.offset, own.offset))


def _keeps_no_rewind(self: again.Live, rewind: Rewind) -> None:
    self.rewinds[rewind.id] = replace(rewind, spans={})


def _one_source(topic_id: str, partition: int, replay_id: str | None = None) -> str:
    return router_source(topic_id, partition, None)


REPLAY_MUTANTS = (
    Mutant("a rewind is taken for a crash's repeat", [patch.object(again, "course", _knows_no_rewind)]),
    Mutant("a rewind is found anew by each who looks", [patch.object(again.Live, "open", _keeps_no_rewind)]),
    Mutant(
        "what a replayed run sent runs again as well", [patch.object(Extent, "passes_over", lambda self, cause: False)]
    ),
    Mutant("what a replayed run sends is live", [patch.object(route, "cause_of", lambda headers: None)]),
    Mutant("a replay has the numbers of live", [patch.object(route, "router_source", _one_source)]),
)
