"""What `check` prints, word for word: its lines, its JSON, and what it says at the end.

``STREAM_ENGINE_TEST_REWRITE=1`` writes them anew; look at the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from stream_engine.cli.check import Row, line, print_array, summary
from stream_engine.cli.checking import Counts, Gone
from stream_engine.core.views.rehearsal import Difference

_OUTPUT = Path(__file__).parent / "check"
_AT = "2026-01-31T13:00:00.000Z"
_EVENT = ("order-7", "order/placed", "pay")
_RUN = ("mfrggzdfmztwq2lknnwg23tp-3", "1")
_DIFFERENCES = [
    (Difference("new step", "total-2", "run", "total (run)"), "completed"),
    (Difference("step left out", "audit", "produce", "null"), "completed"),
    (Difference("kind of step", "wait", None, "run", "sleep"), "completed"),
    (Difference("order of steps", "load", "run", "before charge", "after charge"), "failed"),
    (Difference("sleep", "cool-down", None, "3600 s", "60 s"), "running"),
    (Difference("sent event", "tell", None, 'order/paid {"total": 1}', 'order/paid {"total": 2}'), "completed"),
    (Difference("invoked function", "fraud", None, "check_fraud", "check_fraud_2"), "completed"),
    (Difference("awaited event", "paid", None, "order/paid with data.id = 7", "order/* with data.id = 7"), "completed"),
    (Difference("timeout of a wait", "paid", None, "3600 s", "none"), "completed"),
    (Difference("status", None, None, "completed", "failed, KeyError: 'total'"), "completed"),
    (Difference("result", None, None, '{"ok": true}', '{"ok":false}'), "completed"),
    (Difference("error", None, None, "KeyError: 'total'", "KeyError: 'sum'\x1b[31m"), "failed"),
    (Difference("no end", None, None, "completed", "nothing in 10 s outside of steps"), "completed"),
    (Difference("no run"), "cancelled"),
    (Difference("dead letter", new="invalid-data: the data of order/placed is not valid: total: Field required"), None),
    (Difference("flow control", old="concurrency a", new="concurrency a, throttle"), "timed_out"),
    (Difference("cancelling events", old="order/void with data.id = 7", new="none"), "completed"),
    (Difference("new run"), None),
]


def _rows() -> list[Row]:
    rows = []
    for difference, status in _DIFFERENCES:
        run, version = _RUN if status else (None, None)
        rows.append(Row(_AT, *_EVENT, run, version, status, difference))
    return rows


def _check(name: str, text: str) -> None:
    path = _OUTPUT / name
    if os.environ.get("STREAM_ENGINE_TEST_REWRITE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_each_difference_is_a_line() -> None:
    _check("lines.txt", "".join(f"{line(row).plain}\n" for row in _rows()))


def test_the_end_says_what_was_not_looked_at() -> None:
    expired = [f"mfrggzdfmztwq2lknnwg23tp-{number}" for number in range(7)]
    counts = [
        Counts(0, 0, 0),
        Counts(120, 118, 0),
        Counts(2_000, 1_990, 1_000, untold=3, expired=expired, invoked=12, elsewhere=4, partly=1, replayed=6),
        Counts(9, 8, 0, unread=1, unread_because="it looks like Avro, but no schemas are configured"),
        Counts(0, 0, 0, gone=[Gone("shop.events", [0, 3], 1_800_000_000_000), Gone("orders", [1], None)]),
    ]
    _check("end.txt", "\n".join("\n".join(summary(one, 50)) + "\n" for one in counts))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_json_is_an_array(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    rows = _rows()[:count]
    print_array(map(msgspec.json.encode, rows))
    text = capsys.readouterr().out
    assert msgspec.json.decode(text, type=list[Row]) == rows
    _check(f"array-{count}.json", text)
