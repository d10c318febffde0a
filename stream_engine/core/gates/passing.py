"""What a run has passed of its gates, at its home: which of it is given back, and when."""

from msgspec.structs import replace

from stream_engine.core.gates.gates import CONCURRENCY, RATE_LIMIT, THROTTLE
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import Began, Free
from stream_engine.core.records.tables import Run


def begun(turn: Turn, run_id: str, run: Run) -> Run:
    """Tell throttles that a run begins, which counts there from now on; return the run, which has nothing to do with them any more."""
    throttles = [gate for gate in run.gates if gate.kind == THROTTLE]
    if not throttles:
        return run
    for gate in throttles:
        turn.command(gate.partition, Began(run_id, gate))
    gates = tuple(gate for gate in run.gates if gate.kind != THROTTLE)
    return replace(run, gates=gates, passed=len(gates))


def free_all(turn: Turn, run_id: str, run: Run) -> None:
    """Give back all that a run that ends has passed, and the place where it waits; one that never began leaves its place to a successor."""
    order = None if run.started_at else run.order
    for gate in run.gates[: run.passed + 1]:
        if gate.kind != RATE_LIMIT:
            turn.command(gate.partition, Free(run_id, gate, order))


def give_back(turn: Turn, run_id: str, run: Run, *, parked: bool = False) -> Run:
    """Give back the slots of a run that waits, as far as it declares so, or all if it is parked; it asks for them again before it goes on."""
    for index, gate in enumerate(run.gates[: run.passed]):
        if (gate.kind == CONCURRENCY and (parked or gate.mode == "release")) or (gate.kind == THROTTLE and parked):
            for passed in run.gates[index : run.passed]:
                turn.command(passed.partition, Free(run_id, passed))
            return replace(run, passed=index)
    return run
