"""What real clients tell of themselves is understood, and none that may still reach its brokers counts as lost."""

from typing import Any

from confluent_kafka import Consumer, Producer

from stream_engine.shell.settings import Settings
from stream_engine.shell.stranded import Stranded
from tests.workers import until


def test_neither_a_client_that_is_at_work_nor_one_that_reaches_nobody_is_lost(broker: Settings) -> None:
    now = 0.0
    stranded, heard = Stranded(lambda: now), dict[str, int]()

    def telling(what: str, address: str | None = None) -> dict[str, Any]:
        properties = stranded.watched(what)

        def told(statistics: str) -> None:
            properties["stats_cb"](statistics)
            heard[what] = heard.get(what, 0) + 1

        own = {"bootstrap.servers": address or broker.bootstrap_servers, "log_level": 0, "error_cb": lambda _: None}
        return properties | own | {"stats_cb": told, "statistics.interval.ms": 100}

    consumer, producer = Consumer(telling("reading") | {"group.id": "g"}), Producer(telling("writing"))
    away = Consumer(telling("away", "127.0.0.1:1") | {"group.id": "g"})
    try:
        consumer.subscribe(["there.is.none"])

        def all_told() -> bool:
            nonlocal now
            for client in (consumer, producer, away):
                client.poll(0.05)
            # Each of its statistics is ten seconds younger than the one before.
            now = min(heard.values(), default=0) * 10.0
            return len(heard) == 3 and now > 100

        until(all_told, "all clients have told more than ten times")
        assert stranded.lost() == []
    finally:
        consumer.close()
        away.close()
