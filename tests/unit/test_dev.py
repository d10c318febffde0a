"""What `dev` shows: a command to try, and lines of what happens."""

import pytest
from pydantic import BaseModel, Field

from stream_engine import Context, Engine, function
from stream_engine.cli.activity import lines
from stream_engine.cli.sample import command, sample
from stream_engine.core.failure import Failure
from stream_engine.core.records.history import (
    EventDisposed,
    HistoryRecord,
    RunChanged,
    RunEnded,
    RunStarted,
    StepRecorded,
)
from stream_engine.shell.history.codec import Entry


class Order(BaseModel):
    id: str
    amount: int
    note: str = ""


class Picky(BaseModel):
    code: str = Field(pattern="^[A-Z]{3}$")


class Nested(BaseModel):
    order: Order


def app(*triggers: str) -> Engine:
    engine = Engine("shop")
    engine.event("order/placed", Order)

    async def pay(ctx: Context) -> None: ...

    engine.include([function("pay", on=list(triggers))(pay) if triggers else function("pay")(pay)])
    return engine


def test_the_command_to_try_fits_the_model() -> None:
    assert command(app("order/placed")) == (
        """stream-engine send order/placed '{"id": "text", "amount": 1}' --app shop --wait"""
    )
    assert command(app("user/*")) == "stream-engine send user/something '{}' --app shop --wait"
    assert command(app()) is None


@pytest.mark.parametrize("model", [None, Picky, Nested])
def test_data_that_cannot_be_made_up_is_left_to_the_user(model: type[BaseModel] | None) -> None:
    assert sample(model) == {}


RUN = "a" * 24 + "-1"
FAILURE = Failure("GatewayError", "503\nand more", "")


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (RunEnded(12_000, RUN, "pay", "1", "completed", 11_500, 0), f"00:00:12  pay  completed after 500 ms  {RUN}"),
        (
            RunEnded(12_000, RUN, "pay", "1", "failed", 11_500, 0, error=FAILURE),
            f"00:00:12  pay  failed after 500 ms: GatewayError: 503  {RUN}",
        ),
        (
            StepRecorded(12_000, RUN, "pay", "charge", "run", "retrying", 0, 11_000, 13_000, error=FAILURE),
            f"00:00:12  pay  charge retrying: GatewayError: 503  {RUN}",
        ),
        (RunChanged(12_000, RUN, "pay", "1", "parked", 0), f"00:00:12  pay  parked  {RUN}"),
        (
            EventDisposed(12_000, "pay", "order/placed", "o1", "shop.events", 0, 1, "duplicate", RUN),
            f"00:00:12  pay  duplicate o1  {RUN}",
        ),
    ],
)
def test_what_happens_is_a_line(record: HistoryRecord, line: str) -> None:
    assert list(lines([Entry("1.0.0.0", record)])) == [line]


def test_what_only_goes_on_is_none() -> None:
    going_on: list[HistoryRecord] = [
        RunStarted(1, RUN, "pay", "1", 1, "order/placed", "o1", "shop.events", 0, 1),
        StepRecorded(1, RUN, "pay", "charge", "run", "completed", 0, 1),
        RunChanged(1, RUN, "pay", "1", "sleeping", 0),
        EventDisposed(1, "pay", "order/placed", "o1", "shop.events", 0, 1, "delayed", RUN),
    ]
    assert not list(lines(Entry("1.0.0.0", record) for record in going_on))


def test_a_flood_is_cut() -> None:
    told = list(lines([Entry("1.0.0.0", RunEnded(1, RUN, "pay", "1", "completed", 1, 0))] * 1_000))
    assert len(told) == 21
    assert "and 980 more" in told[-1]
