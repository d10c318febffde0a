"""Dead letters and functions as listings show them."""

from __future__ import annotations

import pytest

from stream_engine.core.functions.catalogue import Catalogue, FunctionSpec, cron_event, start_event
from stream_engine.core.functions.flow import Cron, Flow, Throttle
from stream_engine.core.routing.dead_letter import headers_of, parse, place_of, shown, whole_document
from stream_engine.core.routing.receive import Message, Rejection
from stream_engine.core.views.function_listing import rows


def test_a_letter_has_the_originals_headers_apart_from_its_own() -> None:
    own = [("reason", b"mine"), ("function", b"mine"), ("a", b"1"), ("a", None)]
    message = Message("shop.events", "id", 3, 7, 5, b"key", b"{", own)
    headers = [
        (name, raw.encode() if isinstance(raw, str) else raw)
        for name, raw in headers_of(message, Rejection("bad-json", "it ends early"))
    ]
    letter = parse((0, 17), 5, message.key, message.value, headers)
    assert (letter.topic, letter.partition, letter.offset) == ("shop.events", 3, 7)
    assert (letter.id, letter.reason, letter.detail, letter.function) == ("0-17", "bad-json", "it ends early", None)
    assert list(letter.headers) == own
    assert place_of(letter.id) == (0, 17)
    assert whole_document(letter, None)["at"] == "1970-01-01T00:00:00.005Z"


def test_a_letter_without_headers_is_shown_all_the_same() -> None:
    letter = parse((0, 0), 5, None, None, [])
    assert (letter.topic, letter.partition, letter.reason) == ("", -1, "")
    assert whole_document(letter, 7)["value"] is None


@pytest.mark.parametrize("text", ["", "7", "a-7", "7-", "-7", "7-b", "1-2-3"])
def test_what_is_no_letters_id(text: str) -> None:
    with pytest.raises(ValueError, match="not the id of a dead letter"):
        place_of(text)


def test_bytes_that_are_no_text_are_shown_in_base64() -> None:
    assert shown(b"\xff\x00") == "base64:/wA="
    assert shown("é".encode()) == "é"


def test_functions_are_shown_as_their_author_wrote_them() -> None:
    spec = FunctionSpec(
        "f",
        ["a/*", start_event("f"), cron_event("f")],
        ["2", "1"],
        flow=Flow(throttle=Throttle(3, 1_000)),
        crons=(Cron("0 9 * * *"), Cron("0 8 * * *", "Europe/Berlin")),
    )
    counts = {("f", "running"): 1, ("f", "sleeping"): 2, ("f", "waiting"): 4, ("f", "queued"): 8, ("f", "failed"): 16}
    counts |= {("g", "queued"): 99}
    [row] = rows(Catalogue({"f": spec}), counts)
    assert (row.id, row.version, row.running, row.queued, row.paused) == ("f", "2", 7, 8, False)
    assert row.triggers == ["a/*", "cron 0 9 * * *", "cron 0 8 * * * Europe/Berlin"]
    assert row.options == {"throttle": {"limit": 3, "per": 1_000}}
