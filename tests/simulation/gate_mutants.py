"""Bugs of gates that are put back, and that only the audits of gates notice: see `tests.simulation.gatekeeper` and `tests.simulation.gathering`."""

from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from stream_engine.core.functions import match
from stream_engine.core.gates import gates, passing, tokens
from stream_engine.core.gates.keeper import Keeper
from stream_engine.core.leading.decide import HANDLERS
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import Began, Free
from stream_engine.core.records.tables import PLACES, TOKENS, Claim, Token
from stream_engine.core.stages import admit, batch, debounce, run
from tests.simulation.mutant import Mutant


def _lets_the_last_through(self: Keeper) -> tuple[str, Claim | None]:
    start = PLACES.key(self.gate.id, "")
    *_, (last, _) = self.turn.state.scan(PLACES, start, start[:-1] + b"\1")
    run_id = last[len(start) + 20 :].decode()
    return run_id, self.claim(run_id)


def _counts_when_let_through(turn: Turn, command: Began) -> None:
    keeper = Keeper.of(turn, command.gate.id)
    claim = None if keeper is None else keeper.claim(command.run_id)
    if claim is not None:
        with patch.object(Keeper, "spend", lambda self: _spend_at(self, claim.since)):
            _began(turn, command)


def _spend_at(keeper: Keeper, at: int) -> None:
    keeper.turn.state.put(TOKENS.numbered_key(keeper.gate.id, keeper.now.number), Token(at))
    keeper.now = replace(keeper.now, number=keeper.now.number + 1)


def _half_a_window(keeper: Keeper, ahead: int = 0) -> int | None:
    at = _next_start(keeper, ahead)
    return at if not at else at - keeper.window // 2


def _in_no_order(turn: Turn, asked: Any, command: Any) -> None:
    _enter(turn, replace(asked, head_start=0), command)


def _pool_of_its_own(function: str, index: int, limit: Any) -> str:
    return f"{function}/{index + 1}" if index else function


def _frees_at_the_beginning(turn: Turn, run_id: str, run_: Any) -> Any:
    begun = _begun(turn, run_id, run_)
    for gate in run_.gates:
        if gate.kind == gates.CONCURRENCY:
            turn.command(gate.partition, Free(run_id, gate))
    return begun


def _newest_comes_last(event: Any, than: Any) -> bool:
    return True


def _quiet_from_the_first(turn: Turn, entry: Any, gate: Any, buffer: Any) -> Any:
    return replace(_follow(turn, entry, gate, buffer), due=buffer.due)


def _one_too_many(turn: Turn, entry: Any) -> None:
    first, *rest = entry.gates
    _gather(turn, replace(entry, gates=(replace(first, limit=first.limit + 1), *rest)))


def _in_half_the_time(turn: Turn, entry: Any) -> None:
    first, *rest = entry.gates
    _gather(turn, replace(entry, gates=(replace(first, per=first.per // 2), *rest)))


_began = gates.began
_next_start = tokens.next_start
_enter = admit._enter
_begun = passing.begun
_follow = debounce._follow
_gather = batch.gather

GATE_MUTANTS = (
    Mutant("the last is let through first", [patch.object(Keeper, "first", _lets_the_last_through)]),
    Mutant(
        "starts count when they are let through",
        [patch.dict(HANDLERS, {Began: _counts_when_let_through})],
        noticed_by=317,
    ),
    Mutant("windows are too short", [patch.object(module, "next_start", _half_a_window) for module in (gates, tokens)]),
    Mutant("a head start is none", [patch.object(admit, "_enter", _in_no_order)]),
    Mutant("a pool is each function's own", [patch.object(match, "concurrency_scope", _pool_of_its_own)]),
    Mutant("a slot is given back at the beginning", [patch.object(run, "begun", _frees_at_the_beginning)]),
    Mutant(
        "a debounce goes on with the last that came",
        [patch.object(debounce, "_is_newer", _newest_comes_last)],
        noticed_by=114,
    ),
    Mutant("a debounce is not prolonged", [patch.object(debounce, "_follow", _quiet_from_the_first)]),
    Mutant("a batch has one too many", [patch.object(batch, "gather", _one_too_many)], noticed_by=87),
    Mutant("a batch does not wait long enough", [patch.object(batch, "gather", _in_half_the_time)]),
)
