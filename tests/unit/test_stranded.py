"""A consumer that has lost all brokers for good is told from one whose Kafka is away, and from one that has been closed."""

import json

from stream_engine.shell.stranded import Stranded

_EVERY, _FOR_GOOD = 5.0, 30.0
_COORDINATOR = {"GroupCoordinator": {"source": "logical", "state": "UP"}}
_KNOWN = {"127.0.0.1:9092/1": {"source": "learned", "state": "TRY_CONNECT"}, **_COORDINATOR}
_FIRST = {"127.0.0.1:9092/bootstrap": {"source": "configured", "state": "INIT"}}


class Told:
    """A clock, and what librdkafka would tell at it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.stranded = Stranded(lambda: self.now)

    def tell(self, what: str, brokers: object, times: int = 1) -> None:
        properties = self.stranded.watched(what)
        assert properties["statistics.interval.ms"] == _EVERY * 1_000
        for _ in range(times):
            self.now += _EVERY
            properties["stats_cb"](json.dumps({"name": "rdkafka#consumer-1", "brokers": brokers, "topics": {}}))


_LOOKS = int(_FOR_GOOD / _EVERY)


def test_a_consumer_that_lists_no_broker_but_the_coordinator_is_lost_after_a_while() -> None:
    told = Told()
    told.tell("shop.events", _KNOWN)
    told.tell("shop.commands", _COORDINATOR, _LOOKS)
    assert told.stranded.lost() == []
    told.tell("shop.commands", _COORDINATOR)
    assert told.stranded.lost() == ["shop.commands"]


def test_a_consumer_that_lists_brokers_again_is_not_lost() -> None:
    for brokers in (_KNOWN, _FIRST):
        told = Told()
        told.tell("shop.commands", {}, 3 * _LOOKS)
        told.tell("shop.commands", brokers)
        assert told.stranded.lost() == []
        told.tell("shop.commands", {}, _LOOKS)
        assert told.stranded.lost() == []


def test_a_consumer_that_has_been_closed_is_not_missed() -> None:
    told = Told()
    told.tell("the events of replay 1", _COORDINATOR, 3 * _LOOKS)
    told.now += 3 * _EVERY
    assert told.stranded.lost() == []
