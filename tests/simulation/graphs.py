"""Functions that invoke, await, cancel and send each other things, and wait for people outside; and what must be true of that once a world has come to rest."""

from collections.abc import Iterator
from random import Random
from typing import Literal

from stream_engine.core.functions.flow import CancelOn, Concurrency, Flow, Timeouts
from stream_engine.core.identity import home_partition, run_id, run_name
from stream_engine.core.records.history import RunEnded, StepRecorded
from tests.simulation.outside import APP, Outside
from tests.simulation.programs import (
    LONG,
    LOOKBACK,
    SHORT,
    Answered,
    Call,
    Emit,
    Expect,
    Fork,
    HandOut,
    Op,
    Program,
    SimFunction,
    Work,
)
from tests.simulation.referee import Referee
from tests.simulation.sent import CONDITIONS, needs_event

CALLEES = ("c0", "c1", "c2")
SAID = ("x/1", "x/2")
"""Events that runs send, and that make none begin."""

HEARD = ("x/1", "x/*")
_GIVEN_UP_MS = 10_000
"""How long a run that nobody waits for any more may go on: commands are late while there are faults, and clocks differ. A long nap takes a minute."""

_WHILE: tuple[Literal["hold", "release"], ...] = ("hold", "hold", "release")


class Weaver:
    """Puts calls and callbacks into programs."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._made = 0

    def weave(self, program: Program, callees: tuple[str, ...]) -> Program:
        """Return a program with a few more operations at random places."""
        random = self._random
        ops = list(program)
        for _ in range(random.choice((0, 1, 1, 2)) if callees else 0):
            ops.insert(random.randrange(len(ops) + 1), self._call(callees))
        if callees and random.random() < 0.3:
            branches: tuple[Program, ...] = ((self._call(callees),), (self._call(callees),))
            ops.append(Fork(self._name("both"), branches, first=random.random() < 0.5))
        if random.random() < 0.5:
            name, at = self._name("ask"), random.randrange(len(ops) + 1)
            ops.insert(random.randrange(at, len(ops) + 1), Answered(name))
            ops.insert(at, HandOut(name, random.choice((None, 20, 300))))
        for _ in range(random.choice((0, 1, 1, 2))):
            ops.insert(random.randrange(len(ops) + 1), random.choice((self._expect, self._emit, self._limited))())
        if random.random() < 0.3:
            # Waits of one run at once may be for the same event, or for what it sends itself.
            which = (self._expect, random.choice((self._expect, self._emit)))
            ops.append(Fork(self._name("all"), tuple((make(),) for make in which), first=random.random() < 0.2))
        return tuple(ops)

    def flow(self) -> Flow:
        """Draw which events cancel the runs of a function, and whether one waits for the end of another; those that are invoked never wait for who invokes them."""
        random = self._random
        limit = Concurrency(random.choice((1, 2)), random.choice((None, "event.data.k")), None, random.choice(_WHILE))
        concurrency = (limit,) if random.random() < 0.3 else ()
        return Flow(concurrency, cancel_on=tuple(self._cancel_on() for _ in range(random.choice((0, 0, 0, 1, 1, 2)))))

    def timeouts(self) -> Timeouts:
        """Draw how long runs of a function may wait, and take."""
        random = self._random
        start = random.choice((5, 50, 500)) if random.random() < 0.3 else None
        return Timeouts(start, random.choice((20, 200, 2_000)) if random.random() < 0.3 else None)

    def _cancel_on(self) -> CancelOn:
        random = self._random
        by, if_ = random.choice(("data.k", "data.k", "data.k", "")), random.choice(tuple(CONDITIONS))
        name = random.choice(("a", "b", "c", *HEARD))
        return CancelOn(name, by, by, if_, needs_event(if_), random.choice((None, None, 30, 300)))

    def _expect(self) -> Expect:
        random = self._random
        timeout = random.choice((0, 20, SHORT, LONG, LONG))
        lookback = random.choice((0, 30, 300, LOOKBACK, LOOKBACK))
        if_ = random.choice(tuple(CONDITIONS))
        return Expect(self._name("wait"), random.choice(("b", "c", *HEARD)), timeout, lookback, if_)

    def _emit(self) -> Emit:
        return Emit(self._name("send"), self._random.choice(SAID))

    def _limited(self) -> Work:
        random = self._random
        return Work(self._name("hurry"), random.randrange(2), random.randrange(4), caught=True, limit=5)

    def _call(self, callees: tuple[str, ...]) -> Call:
        random = self._random
        detached, caught = random.random() < 0.2, random.random() < 0.7
        return Call(self._name("call"), random.choice(callees), random.choice((None, None, 30, 300)), detached, caught)

    def _name(self, kind: str) -> str:
        self._made += 1
        return f"{kind}{self._made}"


def audit_graphs(referee: Referee, partitions: int, catalogue: dict[str, SimFunction], outside: Outside) -> None:
    """Object to calls that were answered wrongly, to what goes on though nobody waits for it, and to completions that count wrongly."""
    for parent, started in referee.started.items():
        for op in _calls(catalogue[started.function].program):
            _audit_call(referee, parent, op, _child(parent, op, partitions))
    for callback in outside.completions:
        _audit_callback(referee, callback, outside)


def given_up(referee: Referee, partitions: int, catalogue: dict[str, SimFunction]) -> dict[str, int]:
    """Return the runs that nobody waits for any more, and since when."""
    found = {}
    for parent, started in referee.started.items():
        for op in _calls(catalogue[started.function].program):
            settled = referee.settled.get((parent, op.id))
            at = _given_up(referee.ended[parent][1], None if settled is None else settled[1])
            if at is not None and not op.detached:
                found[_child(parent, op, partitions)] = at
    return found


def _child(parent: str, op: Call, partitions: int) -> str:
    identity = f"invoked:{parent}/{op.id}"
    return run_id(run_name(APP, op.function, identity, None), home_partition(identity, partitions))


def _audit_call(referee: Referee, parent: str, op: Call, child: str) -> None:
    settled = referee.settled.get((parent, op.id))
    ended = referee.ended.get(child)
    outcome = None if settled is None else settled[1]
    over = None if ended is None else ended[1]
    if outcome is not None and outcome.status == "completed":
        if over is None or (over.status, over.result) != ("completed", outcome.result):
            referee.object(2, f"{parent}/{op.id} got {outcome.result} from {child}, which came to {over}")
        referee.schedule.counts["call answered"] += 1
        return
    referee.schedule.counts["call failed"] += outcome is not None
    if over is None or op.detached:
        return
    since = _given_up(referee.ended[parent][1], outcome)
    if since is not None and over.status != "cancelled" and over.at > since + _GIVEN_UP_MS:
        referee.object(2, f"{child} goes on until {over.at} as {over.status}; {parent}/{op.id} gave it up at {since}")
    referee.schedule.counts["child cancelled"] += over.status == "cancelled"


def _given_up(parent: RunEnded, outcome: StepRecorded | None) -> int | None:
    """Return since when nobody waits for the run that a step has invoked."""
    if outcome is None:
        return parent.at
    return outcome.at if outcome.error is not None and "had no result within" in outcome.error.message else None


def _audit_callback(referee: Referee, callback: tuple[str, str], outside: Outside) -> None:
    (run, step), names = callback, list(outside.completions[callback])
    told = [referee.completions.get(name, []) for name in names]
    if any(len(dispositions) != 1 for dispositions in told):
        referee.object(1, f"the completions {names} of {run}/{step} have the dispositions {told}, not one each")
    winners = [name for name, [disposition] in zip(names, told, strict=True) if disposition == "completed"]
    settled = referee.settled.get((run, step))
    if winners:
        result = None if settled is None else settled[1].result
        in_order = names[:1] if callback not in outside.by_events else names
        if len(winners) != 1 or winners[0] not in in_order or result != f'"{winners[0]}"':
            referee.object(2, f"{run}/{step} was sent {names}, took {winners}, and has the result {result}")
        if settled is not None and callback in outside.timeouts:
            until, at = settled[1].started_at + outside.timeouts[callback], outside.completions[callback][winners[0]]
            if at > until + referee.schedule.skew and settled[1].started_at < settled[1].at:
                referee.object(6, f"{run}/{step} was to wait until {until}, and was completed by what was sent at {at}")
    elif settled is not None and (settled[1].error is None or settled[1].error.type != "TimeoutError"):
        referee.object(2, f"{run}/{step} has the result {settled[1]} of no completion")
    elif settled is not None:
        until = settled[1].started_at + outside.timeouts[callback]
        in_time = [name for name, at in outside.completions[callback].items() if at + referee.schedule.skew < until]
        if in_time:
            referee.object(6, f"{run}/{step} has timed out, was to wait until {until}, and {in_time} had been sent")


def _calls(program: Program) -> Iterator[Call]:
    op: Op
    for op in program:
        if isinstance(op, Call):
            yield op
        elif isinstance(op, Fork):
            for branch in op.branches:
                yield from _calls(branch)
