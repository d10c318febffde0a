"""Dead letters of which only one function could make nothing, on a real broker: that function gets them again, and no other."""

from collections import Counter

import pytest

from stream_engine.shell import clients
from tests.integration.behaviours.commands import command, said
from tests.integration.behaviours.deploys import Deploys
from tests.raw import Record
from tests.workers import until


@pytest.mark.parametrize("deploys", ["mended.py"], indirect=True)
def test_the_function_that_could_not_use_an_event_gets_it_once_it_is_mended(deploys: Deploys) -> None:
    deploys.deploy(BEHAVIOURS_BUG="1")
    places = [deploys.served.send({"name": "order/placed", "data": {"id": number, "shop": 7}}) for number in range(3)]
    deploys.served.told("RunEnded", 3, function="count")
    deploys.served.told("EventDisposed", 3, function="pick", disposition="dead-lettered")
    until(lambda: len(said(deploys, "dead-letters", "list")) == 3, "there are letters")
    letters = [letter["id"] for letter in said(deploys, "dead-letters", "list")]
    early = command(deploys, "dead-letters", "retry", *letters)
    assert (early.exit_code, early.stdout) == (1, "")
    assert "is still of no use to pick" in early.stderr
    deploys.deploy(BEHAVIOURS_BUG="0")
    sent = said(deploys, "dead-letters", "retry", *letters)
    assert {(one["id"], one["function"]) for one in sent} == {(letter, "pick") for letter in letters}
    assert sorted(deploys.served.result(one["run_id"]) for one in sent) == [0, 1, 2]
    started = deploys.served.told("RunStarted", 3, function="pick")
    assert sorted((one["partition"], one["offset"]) for one in started) == sorted(places)
    # All gates of the function hold, and its idempotency with them.
    [once] = said(deploys, "dead-letters", "retry", letters[0])
    deploys.served.told("EventDisposed", function="pick", disposition="duplicate")
    deploys.served.listen()
    assert len(deploys.served.told("RunStarted", 3, function="count")) == 3
    assert once["run_id"] not in {one["run_id"] for one in deploys.served.told("RunStarted", 3, function="pick")}


@pytest.mark.parametrize("deploys", ["mended.py"], indirect=True)
def test_who_stood_still_buries_nothing_that_another_worker_has_buried(deploys: Deploys) -> None:
    messages = 20_000
    first = deploys.deploy()
    producer = clients.producer(deploys.settings)
    producer.produce_batch(f"{deploys.name}.events", [{"value": b"{", "partition": 0} for _ in range(messages)])
    producer.flush()
    # It has read more than it has routed.
    deploys.served.dead.until(lambda letters: len(letters) >= 100)
    first.pause()
    deploys.workers.start().ready()
    deploys.served.dead.until(lambda letters: len({_origin(letter) for letter in letters}) == messages)
    first.resume()
    first.said("stepping down")
    first.said("leading in epoch", times=first.talk.count("leading in epoch") + 1)
    deploys.served.dead.to_end()
    twice = [origin for origin, times in Counter(map(_origin, deploys.served.dead.records)).items() if times > 1]
    assert not twice, f"{len(twice)} of {messages}"


def _origin(letter: Record) -> tuple[str, str]:
    return letter.headers["partition"], letter.headers["offset"]
