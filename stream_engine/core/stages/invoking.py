"""A step invokes a function, and waits for its result: a command to the partition where the run will live, and another one back.

The run's id follows from who invokes it, by which step, so that it is known before there is a run. Whatever becomes of it, the step is told, and
once: both commands go by the outbox, and an answer counts only while the step waits. The leader where the run will live decides by the code that it
has: which gates stand before the run, or that there is no such function. A function that only the catalogue in force has is one of a newer deploy, which
this leader's worker is not of: its run waits for code there, as that of an event does, until a worker leads that has it. Of gates, those that make one run of many events do not stand before a run
that somebody waits for. A slot that the invoking run holds, or one above it, is shared, because they would wait for each other. The gate's owner counts who is
in a slot, so that it is free when the last of them has ended: a run may outlive the one that invoked it.
"""

from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.functions.catalogue import start_event
from stream_engine.core.functions.match import Wish, match
from stream_engine.core.functions.pausing import PAUSED
from stream_engine.core.gates import event_time
from stream_engine.core.gates.gates import BATCH, CONCURRENCY, DEBOUNCE
from stream_engine.core.identity import home_partition, partition_of, run_id, run_name
from stream_engine.core.partition.turn import Live, Turn
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Call, Caller, Entry, Reply
from stream_engine.core.records.tables import STEPS, Child, Run, Step, Timer
from stream_engine.core.records.wanted import Canceller
from stream_engine.core.stages import handlers
from stream_engine.core.stages.commands import OWN, Invoke
from stream_engine.core.stages.entering import pass_on
from stream_engine.core.stages.replying import give_up, refuse, tell_disposition
from stream_engine.core.stages.run import disposed
from stream_engine.core.stages.step import FOREVER, keep, open_step, settle
from stream_engine.core.stages.unloaded import with_loaded
from stream_engine.core.waits.cancelling_events import register

MOST_DEPTH = 32
"""How many runs may wait for each other, each invoked by the one before."""

TIMEOUT = "invoke timeout"
"""The kind of timer that ends the wait of a step for what it invoked."""


def invoke(turn: Turn, command: Invoke) -> None:
    """A step invokes a function; executing the run again does not invoke it again."""
    live = open_step(turn, command.run_id, command.step_id)
    if live is None or command.step_id in live.pending:
        return
    rules, run = turn.rules, live.run
    path = (*(run.caller.path if run.caller else ()), f"{rules.app}/{run.function}")
    wrong = _refusal(command, path)
    if wrong is not None:
        failed = Step("invoke", "failed", len(live.recorded), 0, turn.now, turn.now, error=wrong[1], reason=wrong[0])
        settle(turn, live, command.run_id, command.step_id, failed)
        return
    place = f"{command.run_id}/{command.step_id}"
    identity = f"invoked:{place}"
    name = run_name(command.app, command.function, identity, run.replay_id)
    partitions = rules.partitions if command.partitions == OWN else command.partitions
    topic = rules.commands_topic if command.partitions == OWN else f"{command.app}.commands"
    child = Child(topic, run_id(name, home_partition(identity, partitions)), command.detached)
    event = Event(
        start_event(command.function), identity, place, turn.now, turn.now, "", 0, 0, command.data, None, command.run_id
    )
    holders = _holders(command.run_id, run)
    about = rules.commands_topic, command.run_id, command.step_id, path, tuple(holders)
    caller = Caller(*about, *_cause(live), tuple(holders.values()))
    wake_at = FOREVER if command.timeout is None else turn.now + command.timeout
    step = Step("invoke", "waiting", len(live.recorded), 0, turn.now, turn.now, wake_at, child=child)
    live.pending.add(command.step_id)
    keep(turn, live, command.run_id, command.step_id, step)
    if command.timeout is not None:
        turn.set_timer(wake_at, Timer(TIMEOUT, command.run_id, command.step_id))
    call = Call(command.function, child.run_id, event, caller, run.replay_id, run.moment)
    turn.command_to(child.topic, partition_of(child.run_id), call)


def called(turn: Turn, command: Call) -> None:
    """A function of this app is invoked: its run is on its way, or whoever invoked it is told why not."""
    caller, rules = command.caller, turn.rules
    function = rules.functions.get(command.function)
    known = turn.in_force.get(command.function) if function is None else function
    if known is None or ":" in command.function:
        error = Failure("InvokeError", f"app {rules.app!r} has no function {command.function!r}")
        refuse(turn, caller, "no_function", error)
        return
    name = run_name(rules.app, command.function, command.event.identity, None)
    if command.function in turn.paused:
        held = Entry(command.run_id, command.function, name, turn.now, 0, (), command.event, command.replay_id, caller)
        turn.history.append(
            disposed(turn, command.run_id, held, command.event, PAUSED, detail="the function is paused")
        )
        tell_disposition(turn, held, PAUSED)
        return
    wish = Wish(command.function, None, known.flow, ())
    matched = match([wish], command.event, rules.partitions, command.replay_id)
    if matched.unfit:
        [unfit] = matched.unfit
        refuse(turn, caller, "failed", Failure("InvokeError", f"{unfit.reason}: {unfit.detail}"))
        return
    gates: tuple[Gate, ...] = ()
    head_start = 0
    cancellers: tuple[Canceller, ...] = ()
    for asked in matched.asked:
        cancellers, head_start = asked.cancellers, asked.head_start
        gates = tuple(gate for gate in asked.gates if gate.kind not in (DEBOUNCE, BATCH))
    order, event, replay_id = max(0, turn.now - head_start), command.event, command.replay_id
    moment = 0 if replay_id is None else event_time.moment_of(event, command.moment)
    about = event, replay_id, caller
    entry = Entry(
        *(command.run_id, command.function, name, turn.now, order, gates, *about),
        cancellers=cancellers,
        moment=moment,
        handlers=handlers.declared(turn, command.function),
    )
    register(turn, entry)
    pass_on(turn, entry)


def replied(turn: Turn, command: Reply) -> None:
    """A step that waits for what it invoked is told what came of that."""
    step = turn.state.get(STEPS, STEPS.key(command.run_id, command.step_id))
    if step is None or step.status != "waiting":
        return
    status = "failed" if command.reason else "completed"
    _conclude(
        turn, command, replace(step, status=status, result=command.result, error=command.error, reason=command.reason)
    )


def waited_in_vain(turn: Turn, run: str, step_id: str, step: Step) -> None:
    """A step has waited for what it invoked for as long as it was to."""
    assert step.child is not None
    took = (step.wake_at - step.started_at) / 1_000
    error = Failure("InvokeError", f"run {step.child.run_id} had no result within {took:g} s")
    give_up(turn, step, "who invoked it waits no longer")
    replied(turn, Reply(run, step_id, None, "timeout", error))


def _conclude(turn: Turn, command: Reply, step: Step) -> None:
    def conclude(live: Live) -> None:
        if not live.run.cancelled:
            settled = replace(step, order=len(live.recorded), ended_at=turn.now, wake_at=0)
            settle(turn, live, command.run_id, command.step_id, settled)

    with_loaded(turn, command.run_id, conclude)


def _refusal(command: Invoke, path: tuple[str, ...]) -> tuple[str, Failure] | None:
    callee = f"{command.app}/{command.function}"
    if not command.partitions:
        return "no_function", Failure("InvokeError", f"there is no app {command.app!r} on this Kafka")
    if len(path) > MOST_DEPTH:
        around = "they go in a circle" if callee in path else "they are too deep"
        message = f"invokes may be {MOST_DEPTH} deep, and {around}: {' > '.join((*path[-4:], callee))}"
        return "failed", Failure("InvokeError", message)
    return None


def _holders(run_id: str, run: Run) -> dict[str, str]:
    """Return the gates of which a run, or one that it was invoked under, holds a slot to its end, each with that run."""
    caller = run.caller
    above = {} if caller is None else dict(zip(caller.held, caller.holders, strict=False))
    own = (gate.id for gate in run.gates[: run.passed] if gate.kind == CONCURRENCY and gate.mode != "release")
    return above | dict.fromkeys(own, run_id)


def _cause(live: Live) -> tuple[str, str, int, int]:
    """Return what names the run that was invoked by nobody: a replay runs that again, and what it invokes anew sends anew."""
    run, event, caller = live.run, live.event, live.run.caller
    if caller is not None and caller.function:
        return caller.function, caller.topic_of, caller.partition, caller.offset
    return run.function, event.topic, event.partition, event.offset
