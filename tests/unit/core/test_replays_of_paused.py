"""What a replay is told to leave out, because functions that may follow from its runs are paused."""

from __future__ import annotations

from stream_engine.cli.replay_choice import of_those_that_are_paused
from stream_engine.core.functions.catalogue import Catalogue, FunctionSpec
from stream_engine.core.routing.replay import Replay

_MADE = Replay("r", "pay", "shop.events", "E", 0, 9, {0: (0, 9)}, 10, 3)
_CATALOGUE = Catalogue({id: FunctionSpec(id, [], ["1"]) for id in ("ship", "pay", "audit")})


def test_nothing_is_said_where_no_other_function_is_paused() -> None:
    """The replayed one is told of by itself, and one that the app does not have any more gets no events."""
    assert of_those_that_are_paused(_MADE, _CATALOGUE, set()) is None
    assert of_those_that_are_paused(_MADE, _CATALOGUE, {"pay", "gone"}) is None


def test_paused_functions_that_may_follow_are_named() -> None:
    words = of_those_that_are_paused(_MADE, _CATALOGUE, {"ship", "pay", "audit"})
    assert words == (
        "paused functions: audit, ship. What runs of this replay send to such a function it does not run before "
        "`stream-engine functions resume FUNCTION --replay`, and a step that invokes it fails"
    )
