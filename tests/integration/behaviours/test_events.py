"""Events on a real broker: what is one, what is none, which are the same, and when they start."""

import json
import time

import pytest

from tests.integration.behaviours.served import Here

_DAY_MS = 86_400_000

BAD = {
    "nothing": (b"", "empty"),
    "a tombstone": (None, "empty"),
    "text": (b"hello", "invalid-json"),
    "half an object": (b'{"name": "greet"', "invalid-json"),
    "no text": (b'{"name": "greet", "data": {"a": "\xff"}}', "invalid-json"),
    "a list": (b"[1]", "invalid-event"),
    "no name": (b'{"data": {}}', "invalid-event"),
    "an unknown field": (b'{"name": "greet", "data": {}, "user": 1}', "invalid-event"),
    "data that is no object": (b'{"name": "greet", "data": 1}', "invalid-event"),
    "no time": (b'{"name": "greet", "ts": "soon"}', "invalid-event"),
    "too far ahead": (json.dumps({"name": "greet", "ts": time.time() * 1_000 + 367 * _DAY_MS}).encode(), "too-far"),
    "too large": (json.dumps({"name": "greet", "data": {"x": "y" * 600_000}}).encode(), "too-large"),
    "a cut record in Avro": (b"\0\0\0\0\7\x20ab", "invalid-avro"),
    "an unknown schema in Avro": (b"\0\0\0\0\x08ab", "unknown-schema"),
    "a CloudEvent without id": (b'{"specversion": "1.0", "type": "greet", "source": "/x"}', "invalid-event"),
    "what its model refuses": (
        b'{"name": "order/checked", "data": {"order_id": "7", "amount": "much"}}',
        "invalid-data",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_event_is_a_dead_letter_and_stops_nothing(served: Here, bad: str) -> None:
    value, reason = BAD[bad]
    place = served.produce(value, key=b"its key")
    letter = served.buried(place)
    assert letter.headers["reason"] == reason
    assert letter.headers["topic"] == f"{served.name}.events"
    assert letter.headers["detail"]
    assert (letter.key, letter.value or None) == (b"its key", value or None)
    behind = served.send({"name": "greet", "data": {"behind": bad}}, partition=place[0])
    assert served.result(served.started(behind))["data"] == {"behind": bad}


def test_a_model_is_what_the_function_gets(served: Here) -> None:
    place = served.send({"name": "order/checked", "data": {"order_id": "7", "amount": 12}})
    assert served.result(served.started(place, "check")) == 12
    assert served.result(served.started(place, "check-too")) == "7"


def test_cloud_events_and_avro_are_events_too(served: Here) -> None:
    cloud = {"specversion": "1.0", "type": "greet", "source": "/a", "id": "cloud-1", "data": {"cloud": 1}}
    media = {"content-type": b"application/cloudevents+json"}
    first = served.started(served.produce(json.dumps(cloud).encode(), headers=media))
    assert served.result(first)["data"] == {"cloud": 1}
    # The same source and id, in the other mode and in another partition: a repeat. The same id of another source is none.
    headers = {f"ce_{name}": str(cloud[name]) for name in ("specversion", "type", "source", "id")}
    again = served.produce(b'{"cloud": 1}', headers=headers)
    [duplicate] = served.told("EventDisposed", partition=again[0], offset=again[1])
    assert (duplicate["disposition"], duplicate["run_id"]) == ("duplicate", first)
    other = served.produce(b'{"cloud": 2}', headers=headers | {"ce_source": "/b"})
    assert served.result(served.started(other))["data"] == {"cloud": 2}
    avro = served.started(served.produce(b"\0\0\0\0\7\x04hi"))
    assert served.result(avro)["data"] == {"avro": "hi"}


def test_an_event_id_starts_one_run(served: Here) -> None:
    event = {"name": "greet", "id": "only-once", "data": {"n": 1}}
    first = served.send(event)
    run = served.started(first, "greet")
    again = served.send(event, partition=(first[0] + 1) % 3)
    [duplicate] = served.told("EventDisposed", partition=again[0], offset=again[1])
    assert (duplicate["disposition"], duplicate["run_id"], duplicate["event_id"]) == ("duplicate", run, "only-once")
    assert len(served.told("RunStarted", event_id="only-once")) == 1


def test_events_without_an_id_are_each_their_own(served: Here) -> None:
    """From every partition of the events topic, which has another number of them than the engine's topics."""
    places = [served.send({"name": "greet", "data": {}}, partition=partition) for partition in (0, 1, 2, 0)]
    assert served.events.partitions == [0, 1, 2]
    assert len({served.started(place, "greet") for place in places}) == 4


def test_an_event_of_the_future_starts_then(served: Here) -> None:
    ts = time.time_ns() // 1_000_000 + 1_500
    place = served.send({"name": "greet", "ts": ts, "data": {}})
    [delayed] = served.told("EventDisposed", partition=place[0], offset=place[1])
    assert delayed["disposition"] == "delayed"
    [started] = served.told("RunStarted", partition=place[0], offset=place[1])
    assert started["run_id"] == delayed["run_id"]
    assert started["at"] >= ts > delayed["at"]


def test_the_key_and_the_name_are_the_producers(served: Here) -> None:
    place = served.send({"name": "hello/world", "data": {"a": 1}}, key=b"customer 7")
    [started] = served.told("RunStarted", partition=place[0], offset=place[1])
    assert (started["event_name"], started["key"]) == ("hello/world", "customer 7")
    result = served.result(started["run_id"])
    assert (result["name"], result["key"], result["data"]) == ("hello/world", "customer 7", {"a": 1})
    assert result["id"] == started["event_id"] == f"{served.name}.events/{place[0]}/{place[1]}"


def test_what_no_function_wants_is_passed_over(served: Here) -> None:
    place = served.send({"name": "nobody/cares", "data": {}}, partition=0)
    behind = served.send({"name": "greet", "data": {}}, partition=0)
    served.started(behind)
    assert served.told("RunStarted", 0, partition=0, offset=place[1]) == []
