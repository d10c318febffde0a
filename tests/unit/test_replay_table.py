"""How replays are printed."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from stream_engine.cli.replay_table import show
from stream_engine.core.routing.replay import COMPLETED, Counts, Replay, completed
from stream_engine.shell.operating.replay_states import Seen

REPLAY = Replay("r", "pay", "shop.events", "E", 0, 9, {0: (0, 2_000)}, 10, 2_000)


@pytest.mark.parametrize(
    ("dispositions", "words"),
    [
        ({}, "0 failed\n"),
        ({"started": 2_000}, "0 failed\n"),
        (
            {"started": 1_950, "coalesced": 48, "dead-lettered": 2},
            "0 failed; what became of the events: 1950 started, 48 coalesced, 2 dead-lettered\n",
        ),
        ({"queued": 7}, "0 failed; what became of the events: 7 queued\n"),
    ],
)
def test_what_became_of_the_events_is_told_where_not_all_have_begun_a_run(
    capsys: pytest.CaptureFixture[str], dispositions: dict[str, int], words: str
) -> None:
    seen = Seen(REPLAY, Counts(2_000, 1_950, 1_950, 0, 0, dispositions), None)
    show([seen], {}, as_json=False, one=True)
    assert capsys.readouterr().out.endswith(words)
    show([seen], {}, as_json=True, one=True)
    found = json.loads(capsys.readouterr().out)
    assert found["dispositions"] == dispositions
    assert [found["paused"], found["dead_lettered"]] == [0, dispositions.get("dead-lettered", 0)]


@pytest.mark.parametrize(
    ("routed", "gone", "expired"),
    [(1_990, 10, 10), (1_990, 40, 10), (1_990, 4, 4), (1_990, 0, 0), (2_000, 10, 0)],
)
def test_what_had_expired_is_told_once_it_is_completed(
    capsys: pytest.CaptureFixture[str], routed: int, gone: int, expired: int
) -> None:
    """Of the places that had expired not all had events of it, and what came to nothing may have another reason."""
    counts = Counts(routed, routed, routed, 0)
    words = f"; {expired} events had expired before it came to them, and were not run\n"
    made = completed(REPLAY, counts, gone)
    assert (made.state, made.expired) == (COMPLETED, expired)
    show([Seen(made, counts, None)], {}, as_json=False, one=True)
    assert capsys.readouterr().out.endswith(words if expired else "0 failed\n")
    for one, told in ((made, expired), (REPLAY, None), (replace(made, function=""), None)):
        show([Seen(one, counts, None)], {}, as_json=True, one=True)
        assert json.loads(capsys.readouterr().out)["expired"] == told
