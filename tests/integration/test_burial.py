"""Burying dead letters on a real broker: each is there once, whatever those who buried before have left open."""

from functools import partial

import msgspec
import pytest
from confluent_kafka import KafkaException, Producer

from stream_engine.core.routing.dead_letter import headers_of
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.receive import Message
from stream_engine.core.routing.route import DeadLetter
from stream_engine.shell import clients, reading
from stream_engine.shell.operating.letters import LetterError, find, read, retry
from stream_engine.shell.routing.burial import Burial, Graveyard
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply
from tests.workers import until

_NOW = 1_700_000_000_000


@pytest.fixture
def graveyard(settings: Settings, app_name: str) -> Graveyard:
    """Return that of a new app."""
    names = Names.of(app_name)
    apply(clients.admin(settings), names, 1)
    read, produce = partial(clients.reader, settings), partial(clients.producer, settings)
    return Graveyard(names.dead_letters, names.router_group, read, produce)


def test_whoever_comes_later_buries_what_is_not_there_and_shuts_out_whoever_was_there(
    settings: Settings, app_name: str, graveyard: Graveyard
) -> None:
    first, second = Burial(graveyard, "events", 0), Burial(graveyard, "events", 0)
    assert first.bury(_letters(0, 1))
    assert first.bury([*_letters(2), _part(3, "ship")])
    assert second.bury([*_letters(1, 2), _part(3, "ship"), _part(3, "bill"), _part(0, "bill"), *_letters(4)])
    assert not first.bury(_letters(5))
    assert not first.bury(_letters(6))
    assert second.bury(_letters(5))
    there = [(one.offset, one.function) for one in read(settings, app_name)]
    assert there == [(0, None), (1, None), (2, None), (3, "ship"), (3, "bill"), (4, None), (5, None)]


def test_what_somebody_who_stood_still_was_about_to_bury_is_buried_by_another(
    settings: Settings, app_name: str, graveyard: Graveyard
) -> None:
    still = _open(graveyard, "events", 0)
    assert Burial(graveyard, "events", 0).bury(_letters(0))
    with pytest.raises(KafkaException):
        still.commit_transaction(10)
    assert [one.offset for one in read(settings, app_name)] == [0]


def test_the_transaction_of_somebody_who_died_is_waited_for(
    settings: Settings, app_name: str, graveyard: Graveyard
) -> None:
    burial = Burial(graveyard, "events", 0)
    assert burial.bury(_letters(0))
    _dead = _open(graveyard, "events", 1)
    # Who knows what has been buried does not wait, but who begins: behind what is open nobody can tell.
    assert burial.bury(_letters(1))
    until(lambda: Burial(graveyard, "events", 0).bury(_letters(1, 2)), "the broker has ended the transaction")
    assert [one.offset for one in read(settings, app_name)] == [0, 1, 2]


def test_a_replay_shuts_out_nobody_who_routes_live(settings: Settings, app_name: str, graveyard: Graveyard) -> None:
    live, replay = Burial(graveyard, "events", 0), Burial(graveyard.of_replay("r"), "events", 0)
    assert live.bury(_letters(0))
    assert replay.bury([*_letters(0), _part(1, "ship")])
    assert live.bury(_letters(2))
    assert [one.offset for one in read(settings, app_name)] == [0, 1, 2]


def test_between_letters_are_marks_and_no_letters(settings: Settings, app_name: str, graveyard: Graveyard) -> None:
    burial = Burial(graveyard, "events", 0)
    assert all(burial.bury(_letters(number)) for number in range(2))
    first, second = read(settings, app_name)
    assert [find(settings, app_name, one.id) for one in (first, second)] == [first, second]
    (partition, behind) = map(int, first.id.split("-"))
    with pytest.raises(LetterError, match="there is no dead letter"):
        find(settings, app_name, f"{partition}-{behind + 1}")


def test_what_is_too_large_for_a_letter_has_one_that_says_where_it_lies(
    settings: Settings, app_name: str, graveyard: Graveyard
) -> None:
    huge = Message("events", "E", 0, 7, _NOW, None, b"x" * (clients.MAX_RECORD_BYTES - 1), (("mine", b"x"),))
    assert Burial(graveyard, "events", 0).bury([DeadLetter(huge, Rejection("too-large", "it is"))])
    [letter] = read(settings, app_name)
    assert (letter.offset, letter.reason, letter.value, letter.headers) == (7, "too-large", None, [])
    with pytest.raises(LetterError, match="too large to be kept whole: its message is offset 7 of events/0"):
        retry(settings, [letter])


def test_what_others_have_stamped_ahead_is_not_buried_again(
    settings: Settings, app_name: str, graveyard: Graveyard
) -> None:
    [letter] = _letters(0)
    ahead = DeadLetter(msgspec.structs.replace(letter.message, timestamp=4_000_000_000_000), letter.rejection)
    assert all(Burial(graveyard, "events", 0, stamped=False).bury([ahead]) for _ in range(2))
    assert len(list(read(settings, app_name))) == 1


def test_a_position_that_the_log_does_not_have_is_an_error_and_no_silence(
    settings: Settings, graveyard: Graveyard
) -> None:
    reader = clients.reader(settings, **reading.TO_THE_END)
    with pytest.raises(KafkaException):
        list(reading.read(reader, graveyard.topic, {0: range(100, 200)}, 10))
    reader.close()


def _open(graveyard: Graveyard, events: str, partition: int) -> Producer:
    """Return a producer that has stopped in the middle of burying a message of the partition."""
    producer = graveyard.producer(events, partition)
    producer.begin_transaction()
    [letter] = _letters(0)
    producer.produce(graveyard.topic, b"{", headers=headers_of(letter.message, letter.rejection))
    assert producer.flush(10) == 0
    return producer


def _letters(*offsets: int) -> list[DeadLetter]:
    return [_part(offset, "") for offset in offsets]


def _part(offset: int, function: str) -> DeadLetter:
    message = Message("events", "E", 0, offset, _NOW, None, b"{", ())
    return DeadLetter(message, Rejection("not-json", "it is none"), function)
