"""Which events of a replay are copies that runs of earlier replays have sent, and what stands beside them."""

from __future__ import annotations

from collections import Counter

import pytest

from stream_engine.cli.replay_choice import of_copies
from stream_engine.core.routing.cause import Cause
from stream_engine.core.routing.copies import Copies
from stream_engine.core.routing.replay import Replay

MADE = Replay("r", "third", "shop.events", "E", 0, 9, {0: (0, 9)}, 10, 3)


def _sent(offset: int, replay: str | None = None, function: str = "parent") -> Cause:
    return Cause(function, "shop.events", 0, offset, replay)


@pytest.mark.parametrize(
    ("causes", "replays", "beside"),
    [
        ([], {}, 0),
        ([_sent(1), _sent(1), _sent(2)], {}, 0),
        # The first run's are not in the range, or it has sent nothing.
        ([_sent(1, "a"), _sent(1, "a"), _sent(2)], {"a": 2}, 0),
        ([_sent(1), _sent(1, "a"), _sent(1, "a"), _sent(2, "a")], {"a": 3}, 2),
        # Of two replays, without the first run.
        ([_sent(1, "a"), _sent(1, "b")], {"a": 1, "b": 1}, 2),
        # What handlers send, and runs of other functions, takes no one's place.
        ([_sent(1), _sent(1, "a", "parent:on_failure"), _sent(1, "a", "other")], {"a": 2}, 0),
    ],
)
def test_copies_are_counted_and_what_stands_beside_them(
    causes: list[Cause], replays: dict[str, int], beside: int
) -> None:
    copies = Copies()
    for cause in causes:
        copies.add(cause)
    assert (copies.replays, copies.beside) == (Counter(replays), beside)


def test_it_is_said_how_many_there_are() -> None:
    copies = Copies()
    copies.add(_sent(1))
    assert of_copies(MADE, copies) is None
    copies.add(_sent(2, "a"))
    assert of_copies(MADE, copies) == "1 of these events were sent by runs of earlier replays: 1 by a"
    copies.add(_sent(1, "b"))
    words = of_copies(MADE, copies)
    assert words is not None
    assert words.startswith("2 of these events were sent by runs of earlier replays: 1 by a, 1 by b. For 1 of them ")
    assert "third has had both, and gets both again, but only one of those that have one id" in words
