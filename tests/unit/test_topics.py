"""What is said of topics as they are."""

from __future__ import annotations

import pytest

from stream_engine.cli.topics import _words
from stream_engine.shell.topics import Found, Names, Wanted, _compare, wanted

_NAMES = Names.of("shop")
_DAY = 86_400_000


def _found(topic: Wanted, **over: str) -> Found:
    config = {name.replace(".", "_"): value for name, value in topic.config().items()} | over
    return _compare(topic, topic.partitions, {name.replace("_", "."): value for name, value in config.items()})


@pytest.mark.parametrize("topic", wanted(_NAMES, 4), ids=lambda topic: topic.name)
def test_a_topic_that_refuses_the_largest_records_is_found_and_keeps_no_worker_from_starting(topic: Wanted) -> None:
    """How large events may be is nobody's business here."""
    assert _found(topic).ok
    found = _found(topic, max_message_bytes="1048588")
    if topic.name == _NAMES.events:
        assert found.ok
        return
    assert (found.ok, found.blocks) == (False, False)
    assert found.finding == (
        "max.message.bytes is 1048588: what is decided at once may have 4194304, and is refused; set it to 4259840 on the topic"
    )
    assert _found(topic, max_message_bytes="4194304").ok


def test_what_no_worker_can_serve_with_comes_first() -> None:
    [journal] = [one for one in wanted(_NAMES, 4) if one.name == _NAMES.journal]
    found = _found(journal, max_message_bytes="1048588", retention_ms="1000")
    assert (found.ok, found.blocks) == (False, True)
    assert "records expire" in (found.finding or "")
    assert _compare(journal, 0, {}).blocks


@pytest.mark.parametrize(
    ("retention_ms", "words"),
    [
        (-1, "for ever"),
        (7 * _DAY, "7 days"),
        (600_000_000, "6.9 days"),
        (_DAY, "1 days"),
        (9_999 * _DAY + 1, "9999 days"),
        (5_400_000, "1.5 hours"),
        (300_000, "5 minutes"),
        (1_500, "1.5 s"),
        (0, "0 s"),
    ],
)
def test_how_long_records_are_kept_is_said_in_few_digits(retention_ms: int, words: str) -> None:
    found = Found("shop.events", 16, "delete", retention_ms, ok=True, finding=None)
    assert _words(found) == f"  16 partitions  delete   kept {words}"
