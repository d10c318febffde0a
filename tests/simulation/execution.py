"""The execution of runs by a simulated worker: it follows effects, and reports as the real executor does."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from stream_engine.core.failure import Failure
from stream_engine.core.identity import idempotency_key
from stream_engine.core.partition.outbox import topic_queue
from stream_engine.core.partition.turn import Attempt, Deliver, Effect, Execute, Release, Stop
from stream_engine.core.records.requests import ReturnStep
from stream_engine.core.records.tables import Outgoing, Step
from stream_engine.core.records.wanted import Wanted
from stream_engine.core.routing.cause import Cause, cause_header
from stream_engine.core.stages.commands import (
    OWN,
    AwaitCallback,
    FailRun,
    FailStep,
    FinishRun,
    Interrupted,
    Invoke,
    LendStep,
    RecordStep,
    RetryRun,
    Sleep,
    Stopped,
    Suspend,
    WaitForEvent,
)
from tests.simulation.outside import APP, Outside
from tests.simulation.programs import (
    Answered,
    Call,
    Emit,
    Expect,
    Fork,
    HandOut,
    Nap,
    Op,
    Program,
    SimFunction,
    Stumble,
    Work,
)
from tests.simulation.referee import Referee
from tests.simulation.schedule import MILLISECOND
from tests.simulation.sent import needs_event
from tests.simulation.term import Term

StepOp = Work | Nap | Emit | Expect | Call | Answered


@dataclass(frozen=True)
class Machine:
    """What the executions of a worker share."""

    functions: dict[str, SimFunction]
    referee: Referee
    clock: Callable[[], int]
    events_topic: str
    events_partitions: int
    outside: Outside


class Executor:
    """All executions of one term."""

    def __init__(self, term: Term, machine: Machine) -> None:
        self._term = term
        self._machine = machine
        self._executions: dict[str, Execution] = {}

    def perform(self, effect: Effect) -> None:
        """Follow one effect."""
        if self._term.over:
            return
        if isinstance(effect, Execute):
            execution = Execution(effect, self._term, self._machine)
            self._executions[effect.run_id] = execution
            execution.begin()
        elif isinstance(effect, Release):
            released = self._executions.pop(effect.run_id, None)
            if released is not None:
                released.over = True
        elif isinstance(effect, Stop):
            self._stop(effect.run_id)
        elif effect.run_id in self._executions:
            self._executions[effect.run_id].take(effect)

    def _stop(self, run_id: str) -> None:
        """Have an execution go no further, and report once the bodies that are running have ended."""
        execution = self._executions.get(run_id)
        if execution is None:
            return
        execution.over = True
        interrupted = execution.interrupted()

        def look() -> None:
            if execution.working:
                self._term.host.at(MILLISECOND, look)
            else:
                if interrupted.bodies:
                    self._term.post(interrupted)
                self._term.post(Stopped(run_id))

        self._term.host.soon(look)

    def lend(self, lease: int, give_back: Callable[[ReturnStep], None]) -> list[LendStep]:
        """Keep the bodies that are running beyond the end of the term; ``give_back`` gets what comes of each."""
        return [lent for execution in self._executions.values() for lent in execution.lend(lease, give_back)]


class Strand:
    """One line of control in a body: what is left of its program."""

    def __init__(self, program: Program, done: Callable[[], None]) -> None:
        self.ops: list[Op] = list(program)
        self.done = done


class Execution:
    """One execution of a run's body, from the top."""

    def __init__(self, effect: Execute, term: Term, machine: Machine) -> None:
        self.over = False
        self._effect = effect
        self._run_id = effect.run_id
        self._term = term
        self._machine = machine
        self._known = dict(effect.steps)
        self._waiting: dict[str, tuple[Strand, StepOp]] = {}
        self._timed = {name for name, step in effect.steps.items() if step.wake_at}
        self._signals = 0
        self._bodies: dict[str, tuple[int, int]] = {}
        self._give_back: Callable[[ReturnStep], None] | None = None

    def lend(self, lease: int, give_back: Callable[[ReturnStep], None]) -> list[LendStep]:
        """Keep the bodies that are running now, and go on with nothing else; of an execution that is being stopped, too."""
        self.over = True
        self._give_back = give_back
        return [LendStep(self._run_id, name, *body, lease) for name, body in self._bodies.items()]

    @property
    def _about(self) -> dict[str, int]:
        """What the run's event says, as far as programs go by it."""
        data = json.loads(self._effect.event.data)
        return {"k": data["k"], "number": data["number"]}

    def interrupted(self) -> Interrupted:
        """Return which bodies are running."""
        return Interrupted(self._run_id, tuple((name, *body) for name, body in self._bodies.items()))

    @property
    def working(self) -> bool:
        """Whether the body of a step is running."""
        return bool(self._bodies)

    def begin(self) -> None:
        """Run the body until it waits."""
        program = self._machine.functions[self._effect.run.function].program
        self._advance(Strand(program, self._finish))
        self._settle()

    def take(self, effect: Deliver | Attempt) -> None:
        """Take the outcome of a step, or the word that it is to be tried again."""
        if self.over:
            return
        self._signals += 1
        self._timed.discard(effect.step_id)
        if isinstance(effect, Deliver):
            self._known[effect.step_id] = effect.step
        elif effect.step_id in self._waiting:
            self._work(self._waiting[effect.step_id][1], effect.attempt)
        else:
            # The body has not come to this step again yet: it begins there, with the attempt that is due.
            old = self._known[effect.step_id]
            self._known[effect.step_id] = Step(old.kind, "due", old.order, effect.attempt, 0, 0)
        self._settle()

    def _settle(self) -> None:
        """Hand over what is recorded, in the order of the record, until the body waits for something that is not."""
        while not self.over:
            ready = [(self._known[name].order, name) for name in self._waiting if self._is_final(name)]
            if not ready:
                break
            _, name = min(ready)
            strand, op = self._waiting.pop(name)
            self._outcome(strand, op, self._known[name])
        if not self.over and self._waiting and self._timed.issuperset(self._waiting):
            signals = self._signals
            delay = self._term.host.schedule.random.randrange(1, 20 * MILLISECOND)
            self._term.host.at(delay, lambda: self._suspend(signals))

    def _is_final(self, name: str) -> bool:
        step = self._known.get(name)
        return step is not None and step.status in {"completed", "failed"}

    def _suspend(self, signals: int) -> None:
        if not self.over and signals == self._signals:
            self._term.post(Suspend(self._run_id, signals))

    def _outcome(self, strand: Strand, op: StepOp, step: Step) -> None:
        self._machine.referee.step_delivered(self._run_id, op.id, step)
        if step.status == "failed" and not (isinstance(op, Work | Call) and op.caught):
            assert step.error is not None
            self._end(FailRun(self._run_id, step.error))
            return
        self._advance(strand)

    def _advance(self, strand: Strand) -> None:
        while strand.ops and not self.over:
            op = strand.ops.pop(0)
            if isinstance(op, Stumble):
                if self._effect.run.attempt < op.times:
                    self._stumble(op)
                    return
            elif isinstance(op, Fork):
                self._fork(strand, op)
                return
            elif isinstance(op, HandOut):
                self._hand_out(op)
            else:
                self._waiting[op.id] = (strand, op)
                self._reach(op)
                return
        if not self.over:
            strand.done()

    def _fork(self, strand: Strand, fork: Fork) -> None:
        open_branches = set(range(len(fork.branches)))

        def ended(index: int) -> None:
            first = len(open_branches) == len(fork.branches)
            open_branches.discard(index)
            if fork.first and first:
                self._machine.referee.race_won(self._run_id, fork.id, index)
                strand.ops.insert(0, Work(f"{fork.id}-won-{index}"))
                self._advance(strand)
            elif not fork.first and not open_branches:
                self._advance(strand)

        for index, program in enumerate(fork.branches):
            self._advance(Strand(program, partial(ended, index)))

    def _reach(self, op: StepOp) -> None:
        """The body has come to a step: begin it, unless it is recorded, or waits for its timer."""
        known = self._known.get(op.id)
        if known is not None:
            if known.status == "due":
                self._work(op, known.attempt)
            return
        if isinstance(op, Expect):
            self._timed.add(op.id)
            wanted = Wanted(op.name, "data.k", str(self._about["k"]), op.if_, needs_event(op.if_))
            self._term.post(WaitForEvent(self._run_id, op.id, wanted, op.timeout, op.lookback))
        elif isinstance(op, Nap):
            self._timed.add(op.id)
            self._term.post(Sleep(self._run_id, op.id, op.delay))
        elif isinstance(op, Emit):
            self._emit(op)
        elif isinstance(op, Call):
            self._timed.add(op.id)
            data = json.dumps(self._about).encode()
            self._term.post(Invoke(self._run_id, op.id, APP, op.function, OWN, data, op.timeout, op.detached))
        elif isinstance(op, Work):
            self._work(op, 0)

    def _hand_out(self, op: HandOut) -> None:
        if op.id not in self._known:
            self._timed.add(op.id)
            self._term.post(AwaitCallback(self._run_id, op.id, op.timeout))
        # The code goes on at once, and may do so before that is recorded.
        self._machine.outside.handed_out(self._run_id, op.id, op.timeout)

    def _emit(self, op: Emit) -> None:
        key = idempotency_key(self._effect.run.root, op.id)
        topic = self._machine.events_topic
        run, event = self._effect.run, self._effect.event
        data = {"by": self._run_id, "step": op.id, "k": self._about["k"], "number": int(key, 36) % 10}
        value = json.dumps({"name": op.name, "data": data, "id": key}).encode()
        cause = Cause(run.function, event.topic, event.partition, event.offset, run.replay_id, run.moment)
        partition = int(key, 36) % self._machine.events_partitions
        message = Outgoing(topic, partition, None, value, (cause_header(cause),))
        now = self._machine.clock()
        sends = ((topic_queue(topic), message),)
        self._term.post(RecordStep(self._run_id, op.id, 0, now, b"null", "send_event", sends))

    def _work(self, op: StepOp, attempt: int) -> None:
        assert isinstance(op, Work), "only bodies of steps are tried again"
        random = self._term.host.schedule.random
        self._term.host.at(
            random.randrange(0, 2 * MILLISECOND),
            lambda: self._term.when_granted(lambda: self._body(op, attempt, random.randrange(0, 10 * MILLISECOND))),
        )

    def _body(self, op: Work, attempt: int, duration: int) -> None:
        if self.over or self._term.over:
            return
        execution = self._machine.referee.step_began(self._term, self._effect, op.id, attempt)
        started = self._machine.clock()
        self._bodies[op.id] = (attempt, started)
        most = duration if op.limit is None else op.limit * MILLISECOND
        result = json.dumps({"execution": execution}).encode() if duration <= most else None

        def returned() -> None:
            self._term.host.point("step body")
            self._term.host.soon(lambda: self._report(op, attempt, result, started))

        self._term.host.at(min(duration, most), returned)

    def _report(self, op: Work, attempt: int, result: bytes | None, started: int) -> None:
        self._bodies.pop(op.id, None)
        if self.over and self._give_back is None:
            return
        error, retry_in = None, None
        if result is None or attempt < op.failures:
            kind = "Flaky" if result is not None else "TimeoutError"
            error, result = Failure(kind, f"attempt {attempt}", ""), None
            retry_in = None if attempt >= op.retries else self._term.host.schedule.random.choice((0, 3, 30))
        if self._give_back is not None:
            self._give_back(ReturnStep(self._run_id, op.id, attempt, started, result, error, retry_in))
            return
        if error is None:
            self._term.post(RecordStep(self._run_id, op.id, attempt, started, result or b""))
            return
        if retry_in is not None:
            self._timed.add(op.id)
        self._term.post(FailStep(self._run_id, op.id, attempt, started, error, retry_in))
        self._settle()

    def _stumble(self, op: Stumble) -> None:
        error = Failure("Stumbled", f"attempt {self._effect.run.attempt}", "")
        if self._effect.run.attempt < op.retries:
            delay = self._term.host.schedule.random.choice((0, 5, 50))
            self._end(RetryRun(self._run_id, delay, error))
        else:
            self._end(FailRun(self._run_id, error))

    def _finish(self) -> None:
        self._end(FinishRun(self._run_id, b'"done"'))

    def _end(self, command: FinishRun | FailRun | RetryRun) -> None:
        if not self.over:
            self.over = True
            self._term.post(command)
