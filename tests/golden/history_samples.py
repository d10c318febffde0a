"""One record of each kind, as format 1 wrote it to ``tests/golden/history/v1/<stem>.bin``."""

from __future__ import annotations

from typing import Final

from stream_engine.core.failure import Failure
from stream_engine.core.records.history import (
    EventDisposed,
    HistoryRecord,
    RunChanged,
    RunEnded,
    RunStarted,
    StepRecorded,
)

RUN: Final = "mfrggzdfmztwq2lknnwg23tp-3"
FAILURE: Final = Failure("GatewayError", "503 – später", "Traceback (most recent call last):\n  ...\n")

# By the index that each had in what its journal record told: partition 3, epoch 17, n 42.
SAMPLES: Final[list[HistoryRecord]] = [
    EventDisposed(
        1_790_000_000_000,
        "process-order",
        "order/placed",
        "order-7",
        "shop.events",
        5,
        2**40,
        "delayed",
        RUN,
        "1790000060000",
        "r1",
    ),
    RunStarted(
        1_790_000_060_001,
        RUN,
        "process-order",
        "1",
        1_790_000_000_000,
        "order/placed",
        "order-7",
        "shop.events",
        5,
        2**40,
        "customer-9",
        "r1",
        "mfrggzdfmztwq2lknnwg23to-2",
    ),
    StepRecorded(
        1_790_000_060_200, RUN, "process-order", "charge", "run", "retrying", 1, 1_790_000_060_100, 2**53, None, FAILURE
    ),
    RunChanged(1_790_000_060_300, RUN, "process-order", "1", "retrying", 2, 1_790_000_061_300, "why", FAILURE),
    RunEnded(
        1_790_000_062_000, RUN, "process-order", "1", "completed", 1_790_000_060_001, 2, '{"ok":true}', None, "r1"
    ),
]
