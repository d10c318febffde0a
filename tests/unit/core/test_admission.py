"""What an event becomes at its home: an id is recognised wherever its runs live, and what a function cannot use is told."""

from stream_engine.core.partition.turn import Function
from stream_engine.core.records.history import EventDisposed, RunStarted
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Unfit
from stream_engine.core.records.tables import GATES
from tests.unit.core.network import Network

PAY = Function("pay", ("1",))
HOME = 0


def event(offset: int, event_id: str = "order-7") -> Event:
    return Event("order", f"id:{event_id}", event_id, 0, 0, "shop.events", 0, offset, b"{}")


def keyed(partition: int) -> Asked:
    """Return the function with a limit whose key belongs to a partition, where its run then lives."""
    return Asked("pay", (Gate("concurrency", f"6a7{partition}", "pay", f"key {partition}", partition, 5),), partition)


def started(network: Network) -> list[str]:
    return [record.run_id for record in network.told if isinstance(record, RunStarted)]


def disposed(network: Network) -> list[tuple[str, str, str]]:
    return [
        (record.function, record.disposition, record.run_id)
        for record in network.told
        if isinstance(record, EventDisposed)
    ]


def test_an_event_s_id_is_recognised_though_another_key_gives_its_run_another_home() -> None:
    network = Network(3, PAY)
    network.give(HOME, Admit(event(1), [], None, (keyed(1),)))
    network.settle()
    network.give(HOME, Admit(event(2), [], None, (keyed(2),)))
    network.settle()
    [run] = started(network)
    assert run.endswith("-1")
    assert disposed(network) == [("pay", "duplicate", run)]


def test_an_event_s_id_is_recognised_though_a_deploy_has_taken_the_limit_away_or_brought_it() -> None:
    plain, limited = (["pay"], ()), (list[str](), (keyed(1),))
    for first, second in ((plain, limited), (limited, plain)):
        network = Network(3, PAY)
        network.give(HOME, Admit(event(1), first[0], None, first[1]))
        network.settle()
        network.give(HOME, Admit(event(2), second[0], None, second[1]))
        network.settle()
        assert len(started(network)) == 1
        assert [disposition for _, disposition, _ in disposed(network)] == ["duplicate"]


def test_a_second_event_with_a_value_is_told_which_event_has_had_it() -> None:
    """Behind the value is a batch, whose run may be that of yet another event."""
    network = Network(1, PAY)
    gates = (
        Gate("idempotency", "6a7e", "pay", "9", HOME, per=60_000),
        Gate("batch", "6a7f", "pay", "", HOME, 9, 5_000, 100),
    )
    for offset, event_id in enumerate(("order-7", "order-8")):
        network.give(HOME, Admit(event(offset, event_id), [], None, (Asked("pay", gates),)))
    network.settle()
    told = {
        record.event_id: (record.disposition, record.detail)
        for record in network.told
        if isinstance(record, EventDisposed)
    }
    assert told == {"order-7": ("queued", ""), "order-8": ("duplicate", "of event order-7")}


def test_what_a_function_cannot_use_is_told_and_others_go_on() -> None:
    network = Network(1, PAY)
    network.give(HOME, Admit(event(1), ["pay"], None, (), (Unfit("mail", "invalid-key", "no field 'email'"),)))
    network.settle()
    assert len(started(network)) == 1
    [told] = [record for record in network.told if isinstance(record, EventDisposed)]
    assert (told.function, told.disposition, told.detail) == (
        "mail",
        "dead-lettered",
        "invalid-key: no field 'email'",
    )


def test_a_run_without_code_asks_no_gate_until_there_is_code() -> None:
    network = Network(1)
    limit = Gate("rate limit", "6a7", "pay", "", 0, 1, 1_000)
    network.give(0, Admit(event(1), [], None, (Asked("pay", (limit,), 0),)))
    network.settle()
    assert [(about, word) for about, word, _ in disposed(network)] == [("pay", "queued")]
    assert not [key for store in network.stores() for key in store.data if key.startswith(GATES.prefix)]
    network.take_over(0, PAY)
    network.settle()
    assert len(started(network)) == 1
