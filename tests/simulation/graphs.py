"""Functions that invoke each other, and wait for people outside; and what must be true of that once a world has come to rest."""

from collections.abc import Iterator
from random import Random

from stream_engine.core.history import RunEnded, StepRecorded
from stream_engine.core.identity import home_partition, run_id, run_name
from tests.simulation.execution import APP
from tests.simulation.outside import Outside
from tests.simulation.programs import Answered, Call, Fork, HandOut, Op, Program, SimFunction
from tests.simulation.referee import Referee

CALLEES = ("c0", "c1", "c2")
_GIVEN_UP_MS = 10_000
"""How long a run that nobody waits for any more may go on: commands are late while there are faults, and clocks differ. A long nap takes a minute."""


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
        return tuple(ops)

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
            identity = f"invoked:{parent}/{op.id}"
            child = run_id(run_name(APP, op.function, identity, None), home_partition(identity, partitions))
            _audit_call(referee, parent, op, child)
            ended = referee.ended.get(child)
            cancelled = ended is not None and ended[1].status == "cancelled"
            if op.detached and cancelled and child not in outside.cancelled:
                referee.object(2, f"{child} is detached from {parent}/{op.id}, and was cancelled by nobody")
    for (run, step), names in outside.completions.items():
        _audit_callback(referee, run, step, names)


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
    given_up = _given_up(referee.ended[parent][1], outcome)
    if given_up is not None and over.status != "cancelled" and over.at > given_up + _GIVEN_UP_MS:
        referee.object(
            2, f"{child} goes on until {over.at} as {over.status}; {parent}/{op.id} gave it up at {given_up}"
        )
    referee.schedule.counts["child cancelled"] += over.status == "cancelled"


def _given_up(parent: RunEnded, outcome: StepRecorded | None) -> int | None:
    """Return since when nobody waits for the run that a step has invoked."""
    if outcome is None:
        return parent.at
    return outcome.at if outcome.error is not None and "had no result within" in outcome.error.message else None


def _audit_callback(referee: Referee, run: str, step: str, names: list[str]) -> None:
    told = [referee.completions.get(name, []) for name in names]
    if any(len(dispositions) != 1 for dispositions in told):
        referee.object(1, f"the completions {names} of {run}/{step} have the dispositions {told}, not one each")
    winners = [name for name, [disposition] in zip(names, told, strict=True) if disposition == "completed"]
    settled = referee.settled.get((run, step))
    if winners:
        result = None if settled is None else settled[1].result
        if winners != names[:1] or result != f'"{winners[0]}"':
            referee.object(2, f"{run}/{step} was sent {names}, took {winners}, and has the result {result}")
    elif settled is not None and (settled[1].error is None or settled[1].error.type != "TimeoutError"):
        referee.object(2, f"{run}/{step} has the result {settled[1]} of no completion")


def _calls(program: Program) -> Iterator[Call]:
    op: Op
    for op in program:
        if isinstance(op, Call):
            yield op
        elif isinstance(op, Fork):
            for branch in op.branches:
                yield from _calls(branch)
