"""Routing: where an event goes, and what may be committed when."""

import json

from stream_engine.core.functions.match import Matched
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Reused, Unfit
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.parcels import RECORD_BYTES
from stream_engine.core.routing.receive import Message, receive
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.route import Routed, Router
from stream_engine.core.stages.reuse import Taken

Received = list[tuple[Message, Event | Rejection]]


def _received(*events: dict[str, object] | None, first: int = 0) -> Received:
    messages = [
        Message("events", "E", 0, first + number, 1_000, None, b"{" if event is None else json.dumps(event).encode())
        for number, event in enumerate(events)
    ]
    return [(message, receive(message, {})) for message in messages]


def _match(event: Event, partitions: int, replay_id: str | None) -> Matched:
    asked = [Asked("h", (Gate("singleton", "1", "h", "", 0),))] if event.name == "gated" else []
    unfit = (
        [Unfit("i", "invalid-key", "no id"), Unfit("j", "invalid-condition", "no x")] if event.name == "unfit" else []
    )
    return Matched(["f", "g"] if event.name in ("a", "unfit") else [], asked, unfit)


def _route(router: Router, received: Received) -> Routed:
    return router.route(received, received[-1][0].offset + 1, _match)


def test_what_matches_nothing_is_passed_over_at_once() -> None:
    router = Router("E", 0, 0, 4)
    routed = _route(router, _received({"name": "b"}, {"name": "b"}))
    assert (routed.commands, routed.dead_letters, router.floor, router.in_flight) == ([], [], 2, 0)


def test_equal_ids_go_to_one_partition_with_all_functions() -> None:
    router = Router("E", 0, 0, 64)
    routed = _route(router, _received({"name": "a", "id": "x"}, {"name": "a", "id": "x"}))
    ((_, raw),) = routed.commands
    commands = decode_commands(raw)
    assert commands.source == "events/E/0/"
    assert [(number, command.__class__.__name__) for number, command in commands.items] == [(0, "Admit"), (1, "Admit")]
    assert [getattr(command, "functions", None) for _, command in commands.items] == [["f", "g"], ["f", "g"]]


def test_the_destination_does_not_depend_on_the_router() -> None:
    one, other = Router("E", 0, 0, 64), Router("E", 0, 7, 64)
    received = _received({"name": "a"}, first=7)
    assert [partition for partition, _ in _route(one, received).commands] == [
        partition for partition, _ in _route(other, received).commands
    ]


def test_bad_messages_are_dead_letters_and_hold_the_floor_as_well() -> None:
    router = Router("E", 0, 0, 4)
    routed = _route(router, _received(None, {"name": "b"}))
    (letter,) = routed.dead_letters
    assert (letter.message.offset, letter.rejection.reason) == (0, "invalid-json")
    assert router.floor == 0
    router.acknowledged(routed.ticket)
    assert router.floor == 2


def test_the_floor_waits_for_the_earliest_batch() -> None:
    router = Router("E", 0, 0, 4)
    first = _route(router, _received({"name": "a"}))
    second = _route(router, _received({"name": "a"}, first=1))
    passed = _route(router, _received({"name": "b"}, first=2))
    assert passed.commands == []
    router.acknowledged(second.ticket)
    assert (router.floor, router.in_flight) == (0, 3)
    router.acknowledged(first.ticket)
    assert (router.floor, router.in_flight) == (3, 0)


def test_a_record_carries_the_floor_of_its_moment() -> None:
    router = Router("E", 0, 5, 4)
    first = _route(router, _received({"name": "a"}, first=5))
    second = _route(router, _received({"name": "a"}, first=6))
    router.acknowledged(first.ticket)
    third = _route(router, _received({"name": "a"}, first=7))
    floors = [decode_commands(raw).floor for routed in (first, second, third) for _, raw in routed.commands]
    assert floors == [5, 5, 6]


def test_many_gates_count_as_much_as_large_events() -> None:
    gates = tuple(Gate("throttle", f"{number:024}", "f" * 100, "k" * 100, 0) for number in range(5))
    asked = [Asked(f"f{number}", gates) for number in range(5)]
    event: dict[str, object] = {"name": "a"}
    routed = Router("E", 0, 0, 1).route(_received(*[event] * 1_000), 1_000, lambda *_: Matched([], asked, []))
    assert sum(len(decode_commands(raw).items) for _, raw in routed.commands) == 1_000
    assert max(len(raw) for _, raw in routed.commands) < 2 * RECORD_BYTES


def test_large_events_are_cut_into_several_records() -> None:
    router = Router("E", 0, 0, 1)
    event: dict[str, object] = {"name": "a", "data": {"text": "x" * (RECORD_BYTES // 3)}}
    routed = _route(router, _received(*[event] * 7))
    numbers = [[number for number, _ in decode_commands(raw).items] for _, raw in routed.commands]
    assert [number for some in numbers for number in some] == list(range(7))
    assert len(numbers) == 3
    assert all(len(raw) < 2 * RECORD_BYTES for _, raw in routed.commands)


def test_functions_behind_gates_are_asked_for_in_the_same_command() -> None:
    routed = _route(Router("E", 0, 0, 4), _received({"name": "gated"}))
    [(_, raw)] = routed.commands
    [(_, command)] = decode_commands(raw).items
    assert isinstance(command, Admit)
    assert (command.functions, [asked.function for asked in command.asked]) == ([], ["h"])


def test_each_function_that_an_event_is_unfit_for_has_a_dead_letter_and_the_others_go_on() -> None:
    router = Router("E", 0, 0, 4)
    routed = _route(router, _received({"name": "unfit"}))
    assert [(letter.function, letter.rejection) for letter in routed.dead_letters] == [
        ("i", Rejection("invalid-key", "no id")),
        ("j", Rejection("invalid-condition", "no x")),
    ]
    assert len(routed.commands) == 1
    for _ in range(3):
        assert router.floor == 0
        router.acknowledged(routed.ticket)
    assert router.floor == 1


def test_an_event_whose_data_would_not_be_taken_any_more_is_a_dead_letter_of_a_replay() -> None:
    """Live it is no event; once more, each function that it was for is told what is wrong with it."""
    rejected = [
        (message, receive(message, {"a": lambda data: "no total", "gated": lambda data: "no total"}))
        for message, _ in _received({"name": "a"}, {"name": "gated"}, {"name": "other"}, None)
    ]
    routed = Router("E", 0, 0, 4, Extent("r-1", "events", {0: (0, 10)})).route(rejected, 4, _match)
    assert [(one.function, one.message.offset, one.rejection.reason) for one in routed.dead_letters] == [
        ("f", 0, "invalid-data"),
        ("g", 0, "invalid-data"),
        ("h", 1, "invalid-data"),
    ]
    admits = [command for _, raw in routed.commands for _, command in decode_commands(raw).items]
    assert [(one.functions, one.asked, one.replay_id) for one in admits if isinstance(one, Admit)] == [
        ([], (), "r-1")
    ] * 2
    detail = "the data of {} is not valid: no total"
    assert [one.unfit for one in admits if isinstance(one, Admit)] == [
        (Unfit("f", "invalid-data", detail.format("a")), Unfit("g", "invalid-data", detail.format("a"))),
        (Unfit("h", "invalid-data", detail.format("gated")),),
    ]
    of_g = Router("E", 0, 0, 4, Extent("r-1", "events", {0: (0, 10)}, "g")).route(rejected, 4, _match)
    assert (len(of_g.commands), len(of_g.dead_letters)) == (1, 1)
    live = Router("E", 0, 0, 4).route(rejected, 4, _match)
    assert (live.commands, [one.message.offset for one in live.dead_letters]) == ([], [0, 1, 3])


def test_an_event_whose_run_would_take_over_too_much_is_a_dead_letter_of_the_replay_and_stops_nothing() -> None:
    result = b'"' + b"x" * 500_000 + b'"'
    steps = tuple(Reused(f"s{number}", "run", 0, 1, 2, result) for number in range(3))
    extent = Extent(
        "r-1", "events", {0: (0, 10)}, reused={(0, 0): Taken(steps, "all"), (0, 1): Taken(steps[:2], "two")}
    )
    router = Router("E", 0, 0, 4, extent)
    routed = _route(router, _received({"name": "a"}, {"name": "a"}))
    admits = {number: command for _, raw in routed.commands for number, command in decode_commands(raw).items}
    first, second = admits[0], admits[1]
    assert isinstance(first, Admit)
    assert isinstance(second, Admit)
    assert (first.functions, first.reused, [one.function for one in first.unfit]) == ([], (), ["f", "g"])
    assert (second.functions, second.reused, second.reused_of, second.unfit) == (["f", "g"], steps[:2], "two", ())
    assert [(one.function, one.rejection.reason) for one in routed.dead_letters] == [
        ("f", "steps-too-large"),
        ("g", "steps-too-large"),
    ]
    assert "1,500,606 bytes, and 1,114,112 are allowed" in routed.dead_letters[0].rejection.detail
