"""Records about events that are waited for; part of `tests.golden.record_samples`."""

from __future__ import annotations

from typing import Final

from stream_engine.core.failure import Failure
from stream_engine.core.records.history import StepRecorded
from stream_engine.core.records.journal import Decided, Event, Gate, Mark, Record
from stream_engine.core.records.requests import Admit, Asked, Commands, Entry, Pass, TimeUp
from stream_engine.core.records.tables import Awaited, Buffer, Run, Step
from stream_engine.core.records.wait_tables import HELD_BACK, Had, HeldBack, Interest, Lane, Offered, Overdue, Waiter
from stream_engine.core.records.wanted import (
    Await,
    Behind,
    Canceller,
    CaughtUp,
    Compare,
    Found,
    InVain,
    LastCall,
    Offer,
    Offering,
    Release,
    Search,
    Sender,
    TakeOut,
    Uncollect,
    Wanted,
    Withdraw,
)
from stream_engine.core.waits.interests import place, slot
from tests.golden.history_samples import RUN

_AT: Final = 1_790_000_000_000
_EVENT: Final = Event("order/paid", "id:p-7", "p-7", _AT, _AT + 5, "shop.events", 5, 2**40, b'{"order":7}', b"c-9", RUN)
_GATE: Final = Gate("batch", "6a7e", "pay", "", 3)
_IF: Final = "async_event.data.total > event.data.total"
_WANTED: Final = Wanted("order/paid", "data.order", "7", _IF, needs_event=True, also=(("data.currency", '"EUR"'),))
_ANY: Final = Wanted("tick")
_CANCELLER: Final = Canceller(_WANTED, 60_000)
_SLOT: Final = slot(_WANTED)
_SENDER: Final = Sender("pay", "shop.events", 5, 7, "r1")
_ENTRY: Final = Entry(RUN, "pay", "f00d", _AT, _AT, (_GATE,), _EVENT, cancellers=(_CANCELLER, Canceller(_ANY)))
_AWAIT: Final = Await(
    RUN, "paid", _WANTED, place(_EVENT), 86_400_000, "r1", ("id:p-6",), _EVENT, _AT + 9, True, _GATE, RUN, 2
)

JOURNAL: Final = {
    "a call that has no result": Decided(
        17,
        45,
        1_001,
        _AT,
        Mark(),
        [],
        [],
        [
            StepRecorded(
                _AT,
                RUN,
                "pay",
                "rate",
                "invoke",
                "failed",
                0,
                _AT,
                error=Failure("InvokeError", "no"),
                reason="skipped",
            )
        ],
        None,
        2,
    ),
    "a decision about a wait": Decided(
        17,
        45,
        1_001,
        _AT,
        Mark(),
        [],
        [],
        [StepRecorded(_AT, RUN, "pay", "paid", "wait", "waiting", 0, _AT, _AT + 9, waits_for=str(_WANTED))],
        None,
        2,
    ),
}

COMMANDS: Final = {
    "events and who waits for them": Commands(
        "",
        None,
        [
            (0, _AWAIT),
            (0, Await(RUN, "tick", _ANY, place(_EVENT), 1)),
            (0, Await(RUN, "tick", _ANY, place(_EVENT), 1, created_at=_AT, had=("id:p-7", "at:T/0/9"))),
            (0, Withdraw(RUN, "0", _SLOT, cancels=True)),
            (0, Withdraw(RUN, "paid", _SLOT)),
            (0, Offer(_EVENT, _SLOT, 86_400_000, _SENDER)),
            (0, Offer(_EVENT, _SLOT, 0)),
            (0, Offering("1d", "shop.events", 2, (("shop.events", 3),), _AT, 86_400_000, _AT + 9)),
            (0, Search(b"W\x00")),
            (0, Compare(b"O\x00", b"W\x00")),
            (0, Compare(b"O\x00", b"W\x00", "interest")),
            (0, Release("1d")),
            (0, Found(RUN, "paid", _EVENT)),
            (0, LastCall(RUN, "paid", _SLOT)),
            (0, TimeUp(RUN, "approve")),
            (0, InVain(RUN, "paid", known=True)),
            (0, CaughtUp(_AT)),
            (0, Behind(_AT)),
            (0, Behind(_AT, b"D\x00")),
            (0, TakeOut(RUN, "6a7e", RUN, 2, "event order/paid (p-7)")),
            (0, Uncollect("pay", RUN, 2, "event order/paid (p-7)", RUN, "r1")),
            (0, Uncollect("pay", RUN, 2, "event order/paid (p-7)")),
            (0, Pass(_ENTRY)),
            (0, Admit(_EVENT, [], None, (Asked("pay", (), cancellers=(_CANCELLER,)),))),
        ],
        2,
    )
}

STORE: Final[dict[str, Record]] = {
    "O an event that may be waited for": Offered(_EVENT, _AT, _SENDER),
    "O an event outside of replays": Offered(_EVENT, _AT),
    "O an event that a live run has sent": Offered(_EVENT, _AT, Sender("pay", "shop.events", 5, 7)),
    "W a wait": Waiter(_AWAIT, True, place(_EVENT), _AT, last=True, called=True),
    "W a wait that was withdrawn": Waiter(None),
    "H a wait that is held": HeldBack(b"W\x00"),
    "A an event that a run has had": Had(_AT),
    "D a wait whose end has come": Overdue(b"W\x00"),
    "D a callback whose end has come": Overdue(b"", RUN, "approve"),
    "I an interest": Interest(
        (Lane("shop.events", 2, _AT, _AT + 9, 60_000), Lane("shop.events", 1, _AT, _AT + 9, 60_000, 600_000)),
        *(_AT, 60_000, _AT, 2, _AT, "order/paid", "data.order", _AT + 8),
        (("shop.events", 3),),
        90_000,
        1,
    ),
    "I an interest in nothing": Interest(),
    "s a step that waits for an event": Step(
        "wait", "waiting", 4, 0, _AT, _AT, _AT + 9, awaited=Awaited(_WANTED, place(_EVENT), 86_400_000)
    ),
    "r a run that an event may cancel": Run("pay", "", "queued", "f00d", _AT, cancellers=(_SLOT,)),
    "b a batch that has lost an event": Buffer(_ENTRY, RUN, _AT, _AT + 9, _AT + 8, 7, 123, True, (2,)),
}

KEYS: Final = {"a wait that is held": HELD_BACK.numbered_key("1d", _AT)}

NAMES: Final = {"where a value is waited for": _SLOT}
