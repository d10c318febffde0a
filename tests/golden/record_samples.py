"""Records of each kind, with every field set and with none that has a default, as ``tests/golden/records`` holds their bytes.

A field that a later format adds is set in samples of its own; what is here stays as it is.
"""

from __future__ import annotations

from typing import Final

from stream_engine.core.failure import Failure
from stream_engine.core.functions.catalogue import FunctionSpec
from stream_engine.core.identity import digest, event_identity, home_partition, idempotency_key, run_id, run_name
from stream_engine.core.partition.intake import leader_source, router_source
from stream_engine.core.partition.outbox import commands_queue, entry_key, foreign_queue
from stream_engine.core.partition.state import State
from stream_engine.core.partition.waiting import Waiting
from stream_engine.core.records.chunks import Chunk, Complete, SnapshotId
from stream_engine.core.records.history import (
    CompletionDisposed,
    EventDisposed,
    HistoryRecord,
    RunChanged,
    RunEnded,
    RunStarted,
    StepRecorded,
)
from stream_engine.core.records.journal import Checkpoint, Decided, Event, Gate, LeaderElected, Mark, Record
from stream_engine.core.records.origin import Logs, Origin
from stream_engine.core.records.requests import (
    Admit,
    Answer,
    Ask,
    Asked,
    Began,
    Call,
    Caller,
    Cancel,
    Collect,
    Commands,
    CompleteCallback,
    Entry,
    Free,
    Handle,
    Handlers,
    Letter,
    Pass,
    Reply,
    ReturnRun,
    ReturnStep,
    Reused,
    Seek,
    Span,
    Unfit,
)
from stream_engine.core.records.tables import (
    CLAIMS,
    CRONS,
    ENDED,
    EVENTS,
    FOLDED_KEY,
    INTAKE,
    PLACES,
    RUNS,
    SEQUENCES,
    STEPS,
    TIMERS,
    TOKENS,
    USES,
    Arrival,
    Buffer,
    Child,
    Claim,
    Dismissal,
    Ended,
    Folded,
    GateState,
    Held,
    Intake,
    Known,
    Outgoing,
    Run,
    Scheduled,
    Sequence,
    Step,
    Timer,
    Token,
    Uses,
    Waits,
    encode,
)
from stream_engine.core.routing.callback_token import Named, token_of
from tests.golden import wait_samples
from tests.golden.history_samples import FAILURE, RUN, SAMPLES
from tests.simulation.store import SimStore

_AT: Final = 1_790_000_000_000
_JOURNAL: Final = "0-z3Yh1pQnWl5oBq9dXtGA"
_MARK: Final = Mark(offset=2**33, epoch=17, n=42)
_CHECKPOINT: Final = Checkpoint(_MARK, Mark(90, 17, 40), 1_000, 512, 123_456, 7_654_321)
_ORIGIN: Final = Origin(Logs("5L6g3nShT-eMCtK--X86sw", _JOURNAL, "kT5_2mXrQ7yWc0hVd1uEaA", 16), 3)
_SNAPSHOT: Final = SnapshotId(_JOURNAL, 17, 2)
_EVENT: Final = Event(
    "order/placed",
    "id:order-7",
    "order-7",
    _AT,
    _AT + 5,
    "shop.events",
    5,
    2**40,
    '{"total":7.5,"café":null}'.encode(),
    b"customer-9",
    RUN,
)
_FROM_ELSEWHERE: Final = Event("tick", "at:Xc/0/9", "tick/0/9", _AT, _AT, "tick", 0, 9, b"null")

_HISTORY: Final = [
    *SAMPLES,
    EventDisposed(_AT, "pay", "order/placed", "order-7", "shop.events", 5, 9, "paused"),
    RunStarted(_AT, RUN, "pay", "1", _AT, "order/placed", "order-7", "shop.events", 5, 9),
    StepRecorded(_AT, RUN, "pay", "charge", "run", "completed", 0, _AT, result="7"),
    RunChanged(_AT, RUN, "pay", "1", "parked", 0),
    RunEnded(_AT, RUN, "pay", "1", "failed", _AT, 0, error=Failure("E", "no")),
]

_GATE: Final = Gate("throttle", "6a7e", "pay", "customer-9", 3, 30, 60_000, 5, "hold")
_PLAIN_GATE: Final = Gate("singleton", "6a7f", "pay", "", 3)
_ENTRY: Final = Entry(RUN, "pay", "f00d", _AT, _AT - 120_000, (_GATE, _PLAIN_GATE), _EVENT, "r1")
_LIVE_ENTRY: Final = Entry(RUN, "pay", "f00d", _AT, _AT, (), _FROM_ELSEWHERE)
_CALLER: Final = Caller(
    "shop.commands", RUN, "fraud", ("shop/order", "shop/pay"), ("6a7e",), "order", "shop.events", 1, 42, (RUN,)
)
_INVOKED: Final = Entry(RUN, "pay", "f00d", _AT, _AT, (), _EVENT, None, _CALLER)
_LETTER: Final = Letter("shop.dead-letters", b"k", b"v", (("topic", b"shop.events"),))
_REUSED: Final = Reused("charge", "run", 1, _AT, _AT + 9, b'"paid"')
_AGAIN: Final = Entry(
    RUN, "pay", "f00d", _AT, _AT, (), _FROM_ELSEWHERE, reused=(_REUSED,), rerun_of=RUN, version="2", reused_of="cafe"
)
_REPLAYED: Final = Entry(
    RUN, "pay", "f00d", _AT, _AT, (_GATE,), _EVENT, "r1", moment=_AT - 7, handlers=Handlers("sorry")
)
_AT_GATES: Final[list[HistoryRecord]] = [
    EventDisposed(
        _AT,
        "pay",
        "order/placed",
        "order-7",
        "shop.events",
        5,
        9,
        "queued",
        RUN,
        "",
        None,
        "throttle",
        "c-9",
        _AT + 9,
        "6a7e",
        _AT,
        7,
    ),
    RunChanged(_AT, RUN, "pay", "1", "queued", 0, None, "", None, "concurrency", "merchant-7", "6a7e", _AT, 7),
    RunChanged(_AT, RUN, "pay", "1", "retrying", 1, _AT + 9, "", Failure("E", "no"), replay_id="r1"),
    RunEnded(_AT, RUN, "pay", "1", "cancelled", _AT, 0, None, None, None, "replaced"),
    RunStarted(_AT, RUN, "pay", "1", _AT, "order/placed", "order-7", "shop.events", 5, 9, rerun_of="f00d-1"),
    CompletionDisposed(_AT, RUN, "pay", "approve", "9f2c", "timed-out", "http", "nobody completed it in time"),
    CompletionDisposed(_AT, RUN, "pay", "approve", "9f2d", "completed", "cli"),
]

JOURNAL: Final = {
    **wait_samples.JOURNAL,
    "a claim": LeaderElected("worker-1/4711", _AT),
    "a decision": Decided(
        17,
        43,
        1_001,
        _AT + 9,
        _MARK,
        [(RUNS.key(RUN), b"\x01"), (TIMERS.timed_key(_AT, "start", RUN, ""), b"\x02")],
        [STEPS.key(RUN, "charge"), b"\x00\xff"],
        _HISTORY,
        _CHECKPOINT,
    ),
    "a decision at gates": Decided(17, 44, 1_001, _AT + 9, _MARK, [], [], _AT_GATES, None, 2),
    "a decision that names a snapshot of a topic": Decided(
        17, 45, 1_001, _AT + 9, _MARK, [], [], [], Checkpoint(_MARK, _MARK, 1, 2, 3, 4, "iYJ3c2tNTVqXvW0m3Qd9Ig"), 2
    ),
    "a decision that decides nothing": Decided(0, 1, 0, 0, Mark(), [], [], []),
}

COMMANDS: Final = {
    **wait_samples.COMMANDS,
    "events from a router": Commands(
        "events/Xc/0/r1",
        2**40,
        [(2**40, Admit(_EVENT, ["process-order", "remind"], "r1")), (2**40 + 2, Admit(_FROM_ELSEWHERE, []))],
    ),
    "handlers from a leader": Commands(
        f"journal/{_JOURNAL}/3",
        None,
        [
            (0, Handle("mourn", "f00d", RUN, _EVENT, FAILURE, "r1")),
            (1, Handle("mourn", "beef", RUN, _FROM_ELSEWHERE, FAILURE)),
        ],
    ),
    "what steps came to": Commands(
        "",
        None,
        [
            (0, ReturnStep(RUN, "charge", 1, _AT, b'"paid"')),
            (0, ReturnStep(RUN, "charge", 1, _AT, None, FAILURE, 250)),
            (0, ReturnStep(RUN, "charge", 1, _AT, None)),
        ],
    ),
    "what runs came to": Commands(
        "",
        None,
        [(0, ReturnRun(RUN, 2, b"null")), (0, ReturnRun(RUN, 2, None, FAILURE, 250)), (0, ReturnRun(RUN, 2, None))],
    ),
    "events for gates": Commands(
        "events/Xc/0/r1",
        7,
        [
            (
                7,
                Admit(
                    _EVENT,
                    [],
                    "r1",
                    (Asked("pay", (_GATE, _PLAIN_GATE), 3, 120_000), Asked("remind", ())),
                    (Unfit("mail", "invalid-key", "no field"),),
                ),
            )
        ],
        2,
    ),
    "events that take over steps": Commands(
        "events/Xc/0/r1", 7, [(7, Admit(_EVENT, ["pay"], "r1", reused=(_REUSED,), new_keys=True, reused_of="cafe"))], 2
    ),
    "events for functions that are paused": Commands(
        "events/Xc/0/", 7, [(7, Admit(_EVENT, [], paused=(Asked("pay", (), 3), Asked("remind", ()))))], 2
    ),
    "a run again": Commands("", None, [(0, Pass(_AGAIN))], 2),
    "what passes between partitions": Commands(
        f"journal/{_JOURNAL}/3",
        None,
        [
            (0, Pass(_ENTRY, Span(RUN, 100, "batched", 50))),
            (1, Pass(_LIVE_ENTRY, Span(RUN, 2))),
            (2, Pass(_LIVE_ENTRY)),
            (3, Collect(RUN, 2, _EVENT)),
            (4, Ask(RUN, "pay", _GATE, _AT, 5, 2**40, "r1")),
            (5, Ask(RUN, "pay", _GATE, _AT, 5, 2**40)),
            *[(6, Answer(RUN, "6a7e", "skipped", _AT, True, _AT + 9, 7)), (7, Answer(RUN, "6a7e"))],
            (8, Free(RUN, _GATE, _AT)),
            (9, Free(RUN, _GATE)),
            (10, Began(RUN, _GATE)),
            (11, Cancel(RUN, "replaced")),
            (12, Cancel(RUN, "ada", seek=True)),
            (13, Seek(RUN, "ada")),
            (14, Handle("mourn", "f00d", RUN, _EVENT, None)),
            (15, Pass(_INVOKED)),
            (16, Call("pay", RUN, _EVENT, _CALLER, "r1")),
            (17, Call("pay", RUN, _EVENT, Caller("shop.commands", RUN, "fraud"))),
            (18, Reply(RUN, "fraud", b"7")),
            (19, Reply(RUN, "fraud", None, "failed", FAILURE)),
            (20, Pass(_REPLAYED)),
            (21, Ask(RUN, "pay", _GATE, _AT, 5, 2**40, "r1", _AT - 7)),
            (22, Ask(RUN, "pay", _GATE, _AT, 5, 2**40, "r1", _AT - 7, 2, RUN, back=True)),
            (23, Answer(RUN, "6a7e", number=2)),
            (22, Call("pay", RUN, _EVENT, _CALLER, "r1", _AT - 7)),
            (23, Admit(_EVENT, ["pay"], "r1", sent_at=_AT - 7)),
            (24, CompleteCallback(RUN, "approve", b"true", "9f2c", "event", _LETTER, _AT)),
            (25, CompleteCallback(RUN, "approve", b"true", "9f2c", "cli")),
        ],
        2,
    ),
}

STATE: Final = {
    "a chunk": Chunk(_SNAPSHOT, 2**33, 1, [(RUNS.key(RUN), b"\x01"), (ENDED.key(RUN), b"\x02")]),
    "the end of a snapshot": Complete(_SNAPSHOT, 2, encode(Folded(_JOURNAL))),
}

STORE: Final[dict[str, Record]] = {
    **wait_samples.STORE,
    "m the place": Folded(_JOURNAL, _MARK, 1_001, _AT, Mark(90, 17, 40), 7_654_400, _CHECKPOINT, 0xCAFEF00D, _ORIGIN),
    "m the first place": Folded(_JOURNAL),
    "r a run": Run("process-order", "2", "retrying", "f00d", _AT, _AT + 1, 2, _AT + 9, "r1", RUN, FAILURE, "5ha7ed"),
    "r a queued run": Run("process-order", "", "queued", "f00d", _AT),
    "r a run at a gate": Run(
        "pay",
        "",
        "queued",
        "f00d",
        _AT,
        gates=(_GATE,),
        passed=1,
        order=_AT - 9,
        span=Span(RUN, 2),
        cancelled="replaced",
        ends_as="timed_out",
        start_by=_AT + 9,
        finish_by=_AT + 8,
        reused=True,
        rerun_of="f00d-1",
        handlers=Handlers(on_cancel="undo"),
    ),
    "e an entry": _ENTRY,
    "r a run of a replay": Run("pay", "", "queued", "f00d", _AT, replay_id="r1", moment=_AT - 7),
    "r a run whose replay is paused": Run("pay", "", "halted", "f00d", _AT, replay_id="r1", asks=2),
    "g a gate of a replay": GateState(_GATE, "pay", number=3, timer=_AT, asked=_AT - 9),
    "b a debounce of a replay": Buffer(_REPLAYED, RUN, _AT - 7, _AT - 2, _AT + 9, until=_AT + 9),
    "y an id in a replay": Known(RUN, _AT - 7),
    "l an event that is held": Arrival(_AT + 9, Pass(_REPLAYED)),
    "l a run that is held": Arrival(_AT + 9, Ask(RUN, "pay", _GATE, _AT, 5, 2**40, "r1", _AT - 7)),
    "g a gate": GateState(_GATE, "pay", 1, 2, PLACES.key("6a7e"), 3, _AT, RUN, "f00d-1", newest=b"\0\7"),
    "g a gate without state": GateState(_PLAIN_GATE, "pay"),
    "c a claim": Claim(_AT, PLACES.key("6a7e")),
    "c a claim that holds": Claim(_AT),
    "c a claim of a run that has asked before": Claim(_AT, PLACES.key("6a7e"), 2),
    "c all that a claim can say": Claim(_AT, b"", 0, RUN, 2, left=True),
    "p a place before a gate": Waits(_AT),
    "k a token": Token(_AT),
    "b a batch": Buffer(_ENTRY, RUN, _AT, _AT + 9, _AT + 8, 7, 123, True),
    "b a debounce": Buffer(_LIVE_ENTRY, RUN, _AT, _AT + 9, _AT + 9),
    "x a gathered event": _EVENT,
    "y a value of an idempotency expression": Known(RUN, event="order-7"),
    "h where a run waits": Held("6a7e"),
    "d a run that was cancelled early": Dismissal("ada"),
    "n a cron trigger": Scheduled("0 9 * * *", "Europe/Berlin", _AT),
    "v an event": _EVENT,
    "v an event of another topic": _FROM_ELSEWHERE,
    "u the uses of an event": Uses(3),
    "s a step": Step("run", "failed", 4, 2, _AT, _AT + 7, _AT + 9, b'{"a":[1]}', FAILURE),
    "s a step without a result": Step("sleep", "sleeping", 0, 0, _AT, 0),
    "r a run that was invoked": Run("pay", "1", "running", "f00d", _AT, _AT, caller=_CALLER),
    "s a step that waits for what it invoked": Step(
        "invoke", "waiting", 4, 0, _AT, _AT, _AT + 9, child=Child("crm.commands", RUN, detached=True)
    ),
    "s a step that invoked in vain": Step(
        "invoke", "failed", 4, 0, _AT, _AT, error=FAILURE, reason="failed", child=Child("crm.commands", RUN)
    ),
    "s a step that nobody completed in time": Step(
        "callback", "completed", 4, 0, _AT, _AT + 7, result=b"null", reason="timeout"
    ),
    "z a run that ended": Ended(_AT, "completed"),
    "t a timer": Timer("forget", RUN, "charge", (ENDED.key(RUN), b"\x00\xff")),
    "t a timer of a run": Timer("start"),
    "w a place in a queue": Waits(_AT),
    "i what has arrived": Intake(2**40, (2**40 + 1, 2**40 + 9)),
    "i what has arrived of a replay": Intake(7, (9,), _AT),
    "i what has arrived without gaps": Intake(7),
    "o a message": Outgoing("audit", 2, b"k", b"v", (("trace", b"\x00\xff"),)),
    "o a message of nothing": Outgoing("audit", None, None, None),
    "q the next number": Sequence(8),
}


def _waiting() -> bytes:
    state = State(SimStore())
    Waiting(state).add(RUN, Run("pay", "", "queued", "f00d", _AT), _EVENT, _AT)
    [(key, _)] = state.changes()[0]
    return key


KEYS: Final = {
    **wait_samples.KEYS,
    "a token": TOKENS.numbered_key("6a7e", 258),
    "a claim": CLAIMS.key("6a7e", RUN),
    "a cron trigger": CRONS.key("pay", "0"),
    "the place": FOLDED_KEY,
    "a run": RUNS.key(RUN),
    "an event": EVENTS.key(RUN),
    "the uses of an event": USES.key("5ha7ed"),
    "a step": STEPS.key(RUN, "charge:1"),
    "a run that ended": ENDED.key(RUN),
    "a timer": TIMERS.timed_key(_AT, "retry", RUN, "charge"),
    "what has arrived": INTAKE.key("events/Xc/0/"),
    "a place in a queue": _waiting(),
    "a command to another app": entry_key(foreign_queue("crm.commands", 3), 7),
    "a message": entry_key(commands_queue(3), 7),
    "the next number": SEQUENCES.key(commands_queue(3)),
}

NAMES: Final = {
    **wait_samples.NAMES,
    "an event's identity": event_identity(None, "Xc", 5, 2**40),
    "the partition of an event": str(home_partition("id:order-7", 16)),
    "a run": run_id(run_name("shop", "pay", "id:order-7", None), 3),
    "a run of a replay": run_id(run_name("shop", "pay", "id:order-7", "r1"), 3),
    "a handler's run, and events that runs share": digest(RUN, "mourn"),
    "an idempotency key": idempotency_key("f00d", "charge:1"),
    "a router as a source": router_source("Xc", 5, None),
    "a leader as a source": leader_source(_JOURNAL, 3),
    "the token of a callback": token_of(bytes(range(32)), Named("shop", RUN, "approve:1")),
}
"""What two engines must derive alike, because they find by it what the other one has left, or know it again."""

CATALOGUE: Final = {"pay": FunctionSpec("pay", ["order/*", "engine/start/pay"], ["2", "1"])}
