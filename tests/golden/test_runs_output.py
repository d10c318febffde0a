"""`runs show` and `runs list` as they look, in characters.

``STREAM_ENGINE_TEST_REWRITE=1`` writes the pictures anew; look at the difference before you commit it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.text import Text

from stream_engine.cli.run_table import table
from stream_engine.cli.timeline import draw, duration
from stream_engine.core.failure import Failure
from stream_engine.core.records.history import (
    EventDisposed,
    HistoryRecord,
    RunChanged,
    RunEnded,
    RunStarted,
    StepRecorded,
)
from stream_engine.core.views.runs import fold

_PICTURES = Path(__file__).parent / "runs"
_RUN, _FUNCTION = "mfrggzdfmztwq2lknnwg23tp-3", "process-order"
_T = 1_790_000_000_000
_NOW = _T + 5_000

_AWAY = Failure("ConnectionError", "the gateway is away", "Traceback ...")
_BAD = Failure(
    "StepError", "no such address", "Traceback (most recent call last):\n  File ...\nStepError: no such address"
)

_STARTED = RunStarted(_T, _RUN, _FUNCTION, "1", _T - 4, "order/placed", "order-7", "shop.events", 0, 7, "customer-9")
_DELAYED = EventDisposed(
    _T, _FUNCTION, "order/placed", "order-7", "shop.events", 0, 7, "delayed", _RUN, str(_T + 60_000)
)


def _step(name: str, status: str, attempt: int, span: tuple[int, int], wake_at: int | None = None) -> StepRecorded:
    start, end = span
    error = _AWAY if status in {"failed", "retrying"} else None
    kind = "sleep" if name == "cool-down" else "run"
    wake = None if wake_at is None else _T + wake_at
    return StepRecorded(_T + end, _RUN, _FUNCTION, name, kind, status, attempt, _T + start, wake, None, error)


def _changed(at: int, change: str, attempt: int = 0, version: str = "1") -> RunChanged:
    error = Failure("KeyError", "'total'") if change == "retrying" else None
    wake_at = _T + at + 1_000 if change == "retrying" else None
    return RunChanged(_T + at, _RUN, _FUNCTION, version, change, attempt, wake_at, "", error)


_LOAD = _step("load", "completed", 0, (2, 10))
_CHARGE: list[HistoryRecord] = [
    _step("charge", "retrying", 0, (12, 200), 1_200),
    _step("charge", "retrying", 1, (1_201, 1_500), 3_500),
    _step("charge", "completed", 2, (3_501, 3_900)),
]
_NAP: list[HistoryRecord] = [_step("cool-down", "sleeping", 0, (3_901, 3_901), 6_901)]
_WOKEN: list[HistoryRecord] = [_changed(6_901, "running"), _step("cool-down", "completed", 0, (3_901, 6_901))]
_COMPLETED = RunEnded(_T + 7_100, _RUN, _FUNCTION, "1", "completed", _T, 0, '{"ok":true}')

RUNS: dict[str, list[HistoryRecord]] = {
    "completed": [_STARTED, _LOAD, *_CHARGE, *_NAP, *_WOKEN, _COMPLETED],
    "sleeping": [_STARTED, _LOAD, *_CHARGE, *_NAP],
    "step waits for its retry": [_STARTED, _LOAD, *_CHARGE[:2]],
    "parallel": [_STARTED, _step("a", "completed", 0, (5, 2_000)), _step("b", "completed", 0, (5, 900)), _step("c", "completed", 0, (2_001, 2_010))],
    "failed, after a retry of its function": [
        _STARTED,
        _LOAD,
        _changed(2_000, "retrying", 1),
        _changed(3_000, "running", 1, "2"),
        _changed(3_000, "moved", 1, "2"),
        _step("tell 日本 the rather long name of a step", "failed", 0, (3_100, 3_200)),
        RunEnded(_T + 3_201, _RUN, _FUNCTION, "2", "failed", _T, 1, None, _BAD),
    ],
    "cancelled": [
        _STARTED,
        _step("load", "interrupted", 0, (2, 5_000)),
        *_CHARGE[:2],
        *_NAP,
        RunEnded(_T + 5_000, _RUN, _FUNCTION, "1", "cancelled", _T, 0, detail="ada: no longer wanted"),
    ],
    "delayed": [_DELAYED],
    "no code": [_STARTED, _LOAD, _changed(100, "parked")],
    "its start is gone": [_LOAD, _COMPLETED],
    "large result": [_STARTED, replace(_COMPLETED, result='"' + "x" * 3_000 + '"')],
}  # fmt: skip


def _compare(name: str, lines: Iterable[Text]) -> None:
    text = "".join(f"{line.plain.rstrip()}\n" for line in lines)
    path = _PICTURES / f"{name.replace(', ', '-').replace(' ', '-')}.txt"
    if os.environ.get("STREAM_ENGINE_TEST_REWRITE"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("width", [100, 60])
def test_timeline(name: str, width: int) -> None:
    _compare(f"{name} {width}", draw(fold(_RUN, RUNS[name]), _NOW, width))


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_bars_fit_the_width(width: int) -> None:
    lines = [line.plain.rstrip() for line in draw(fold(_RUN, RUNS["completed"]), _NOW, width)]
    assert max(len(line) for line in lines if "█" in line or "░" in line) <= width


def test_table() -> None:
    names = [name for name in RUNS if name != "large result"]
    _compare("table", table([fold(f"{_RUN}{number}", RUNS[name]) for number, name in enumerate(names)]))


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (3_440, "3.44 s"),
        (59_990, "60 s"),
        (60_000, "1 m 0 s"),
        (125_500, "2 m 5 s"),
        (3_600_000, "1 h 0 m"),
        (86_400_000 * 400 + 3_600_000, "400 d 1 h"),
    ],
)
def test_duration(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text
