"""What is an event, and what is said of what is none."""

import json
from typing import Any

import pytest

from stream_engine.core.records.journal import Event
from stream_engine.core.routing.envelope import Headers, Rejection
from stream_engine.core.routing.receive import (
    MAX_BYTES,
    MAX_DELAY,
    MAX_NAME,
    SENDER_HEADER,
    Check,
    Message,
    receive,
)

AT = 1_700_000_000_000


def _message(value: bytes | None, headers: Headers = ()) -> Message:
    return Message("shop.events", "E", 3, 17, AT, b"key", value, headers)


def _receive(value: Any, checks: dict[str, Check] | None = None) -> Event | Rejection:
    raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return receive(_message(raw), checks or {})


def test_an_event_knows_where_it_came_from() -> None:
    event = receive(_message(b'{"name": "order/placed", "data": {"id": 7}}', [(SENDER_HEADER, b"run-1")]), {})
    assert event == Event(
        "order/placed",
        "at:E/3/17",
        "shop.events/3/17",
        AT,
        AT,
        "shop.events",
        3,
        17,
        b'{"id": 7}',
        b"key",
        "run-1",
    )


def test_an_id_of_the_producer_is_the_identity() -> None:
    event = _receive({"name": "a", "id": "order-7"})
    assert isinstance(event, Event)
    assert (event.identity, event.id) == ("id:order-7", "order-7")


def test_data_may_be_left_out() -> None:
    event = _receive({"name": "a"})
    assert isinstance(event, Event)
    assert event.data == b"{}"


@pytest.mark.parametrize(
    ("ts", "expected"),
    [
        (None, AT),
        (5, 5),
        (5.75, 5),
        ("2023-11-14T22:13:20Z", AT),
        ("2023-11-14T22:13:20", AT),
        ("2023-11-15T00:13:20+02:00", AT),
        (AT + MAX_DELAY, AT + MAX_DELAY),
    ],
)
def test_the_time_is_the_producers_or_the_logs(ts: Any, expected: int) -> None:
    event = _receive({"name": "a", "ts": ts})
    assert isinstance(event, Event)
    assert event.ts == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b" " * (MAX_BYTES + 1), "too-large"),
        (b"{", "invalid-json"),
        (b"\xff", "invalid-json"),
        (b'{"name": "a", "data": ' + b"[" * 100_000, "invalid-json"),
        (b'{"name": "a", "data": {"text": "\xff"}}', "invalid-json"),
        (b'{"name": "a", "data": {"text": "\\ud800"}}', "invalid-json"),
        (b'{"name": "\xff"}', "invalid-json"),
        ([], "invalid-event"),
        ("text", "invalid-event"),
        ({}, "invalid-event"),
        ({"name": ""}, "invalid-event"),
        ({"name": 7}, "invalid-event"),
        ({"name": "a" * (MAX_NAME + 1)}, "invalid-event"),
        ({"name": " a"}, "invalid-event"),
        ({"name": "a\n"}, "invalid-event"),
        ({"name": "order/*"}, "invalid-event"),
        ({"name": "a", "id": ""}, "invalid-event"),
        ({"name": "a", "id": "x" * (MAX_NAME + 1)}, "invalid-event"),
        ({"name": "a", "id": "a\0b"}, "invalid-event"),
        ({"name": "a", "id": "a\nb"}, "invalid-event"),
        ({"name": "a", "more": 1}, "invalid-event"),
        ({"name": "a", "data": []}, "invalid-event"),
        ({"name": "a", "data": None}, "invalid-event"),
        ({"name": "a", "ts": "soon"}, "invalid-event"),
        ({"name": "a", "ts": -1}, "invalid-event"),
        ({"name": "a", "ts": 2**60}, "invalid-event"),
        ({"name": "a", "ts": True}, "invalid-event"),
        ({"name": "a", "ts": AT + MAX_DELAY + 1}, "too-far"),
    ],
)
def test_what_is_no_event_is_rejected_with_a_stable_code(value: Any, reason: str) -> None:
    rejection = _receive(value)
    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason
    assert rejection.detail


def test_an_id_that_is_refused_is_shown_without_what_cannot_be_printed() -> None:
    assert _receive({"name": "a", "id": "a\0b"}) == Rejection(
        "invalid-event", r"the id 'a\x00b' has 3 characters; 1 to 256 printable ones are allowed"
    )


def test_a_name_that_is_refused_is_shown_with_the_rule() -> None:
    assert _receive({"name": "order/*"}) == Rejection(
        "invalid-event", "the name 'order/*' will not do: an event's name has no *; only triggers do"
    )


def test_the_apps_check_judges_the_data_of_its_event_alone() -> None:
    checks: dict[str, Check] = {"a": lambda data: "no total" if b"total" not in data else None}
    event = _receive({"name": "a"})
    assert isinstance(event, Event)
    assert _receive({"name": "a"}, checks) == Rejection("invalid-data", "the data of a is not valid: no total", event)
    assert isinstance(_receive({"name": "a", "data": {"total": 1}}, checks), Event)
    assert isinstance(_receive({"name": "b"}, checks), Event)
