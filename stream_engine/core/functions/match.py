"""What an event means for a function that has conditions or flow control: whether it wants the event, and which gates stand before its run.

Theory of operation. Routers do this, from the catalogue alone. Everything that depends on the event is evaluated here, so that leaders work with gates
that have an id, a partition and numbers, and never with expressions. Gates are in the one written order (see `stream_engine.core.records.journal.Gate`):
what decides whether there is a run comes before what decides when it starts. Of these, what has a key comes before what has none, because who waits for
what others of its key have should hold nothing that another key could use; and limits of concurrency before a throttle, whose turn comes for
certain. Limits that are held until the end come before those that are given back meanwhile, and equals by their ids, so that no two runs wait for each other.

A failing condition, key or priority concerns only its function: the event is *unfit* for it, and that part becomes a dead letter.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from stream_engine.core.expressions.expression import EvaluationError, ExpressionError, compile_expression, value_at
from stream_engine.core.expressions.scope import Scope, ScopeError
from stream_engine.core.functions.flow import MOST_HEAD_START, PLAIN, Concurrency, Cron, Flow, concurrency_scope
from stream_engine.core.identity import digest, home_partition
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Asked, Unfit
from stream_engine.core.records.wanted import Canceller, Wanted

IDEMPOTENT_FOR = 24 * 3_600_000
"""How long the value of an idempotency key is remembered, in milliseconds."""

_KINDS_OF_A_REPLAY = frozenset({"idempotency", "debounce", "batch", "rate limit"})
_HOMES = ("concurrency", "singleton", "batch", "debounce")


INVALID_CONDITION = "invalid-condition"
"""The reason for which an event is unfit for a function that cannot tell whether it wants it."""


class Matched(NamedTuple):
    """What an event starts: functions as they are, functions behind gates, those that it is unfit for, and those that are paused."""

    functions: list[str]
    asked: list[Asked]
    unfit: list[Unfit]
    paused: tuple[Asked, ...] = ()


class Wish(NamedTuple):
    """A function that may want an event. ``conditions`` is None if it does in any case; else one of them has to hold.

    ``tick_of`` has the function's crons if the event is a tick of one of them.
    """

    function: str
    conditions: tuple[str, ...] | None
    flow: Flow
    tick_of: tuple[Cron, ...]

    @property
    def is_plain(self) -> bool:
        """Whether nothing of the event but its name has to be looked at."""
        return self.conditions is None and self.flow is PLAIN and not self.tick_of


def match(wishes: Iterable[Wish], event: Event, partitions: int, replay_id: str | None) -> Matched:
    """Return what becomes of an event for functions; ``partitions`` is how many the commands topic has."""
    matched = Matched([], [], [])
    scope = Scope(event)
    for wish in wishes:
        if wish.is_plain:
            matched.functions.append(wish.function)
            continue
        try:
            if wish.conditions is not None and not _holds(wish.conditions, scope):
                continue
            asked = _Asking(wish, scope, partitions, replay_id).asked()
        except _UnfitError as error:
            matched.unfit.append(Unfit(wish.function, error.reason, error.detail))
            continue
        if asked.gates or asked.head_start or asked.cancellers:
            matched.asked.append(asked)
        else:
            matched.functions.append(wish.function)
    return matched


class _UnfitError(Exception):
    def __init__(self, reason: str, option: str, error: Exception) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = f"{option}: {error}"


def _holds(conditions: Sequence[str], scope: Scope) -> bool:
    """Return whether one of them holds; one that fails counts only if none does."""
    failed: _UnfitError | None = None
    for text in conditions:
        try:
            if _condition("if_", text, scope):
                return True
        except _UnfitError as error:
            failed = error
    if failed is not None:
        raise failed
    return False


def _condition(option: str, text: str, scope: Scope) -> bool:
    try:
        return compile_expression(text).condition(scope)
    except (ExpressionError, EvaluationError) as error:
        raise _UnfitError(INVALID_CONDITION, option, error) from None


class _Asking:
    """One function that wants one event: its gates, as they are built in their order."""

    def __init__(self, wish: Wish, scope: Scope, partitions: int, replay_id: str | None) -> None:
        self._function = wish.function
        self._flow = wish.flow
        self._tick_of = wish.tick_of
        self._scope = scope
        self._partitions = partitions
        self._replay_id = replay_id or ""
        self._gates: list[Gate] = []
        self._homes: dict[str, int] = {}

    def asked(self) -> Asked:
        """Return the gates, the run's home, and its head start."""
        flow, function = self._flow, self._function
        if flow.idempotency is not None:
            self._add("idempotency", function, flow.idempotency, per=IDEMPOTENT_FOR)
        self._gather()
        if (rate := flow.rate_limit) is not None:
            self._add("rate limit", function, rate.key, limit=rate.limit, per=rate.per)
        if flow.singleton is not None:
            self._add("singleton", function, flow.singleton.key, mode=flow.singleton.mode)
        overlap, scope = self._overlap()
        if overlap in ("skip", "cancel"):
            self._add("singleton", scope, None, mode="skip" if overlap == "skip" else "replace")
        limits = [(concurrency_scope(function, index, limit), limit) for index, limit in enumerate(flow.concurrency)]
        if overlap == "queue":
            limits.append((scope, Concurrency(1)))
        self._limit(limits)
        home = next((self._homes[kind] for kind in _HOMES if kind in self._homes), -1)
        return Asked(function, tuple(self._gates), home, self._head_start(), self._cancellers())

    def _cancellers(self) -> tuple[Canceller, ...]:
        """Return what cancels the run; where its event lacks the field that is compared, nothing can."""
        found = []
        for one in self._flow.cancel_on:
            value = value_at(one.own, self._scope) if one.own else ""
            if value is not None:
                found.append(Canceller(Wanted(one.name, one.path, value, one.if_, one.needs_event), one.timeout))
        return tuple(found)

    def _gather(self) -> None:
        debounce, batch = self._flow.debounce, self._flow.batch
        if debounce is not None:
            most = debounce.max_wait or 0
            self._add("debounce", self._function, debounce.key, per=debounce.period, most=most, mode=debounce.keep)
        if batch is not None and (batch.if_ is None or _condition("batch: if_", batch.if_, self._scope)):
            numbers = {"limit": batch.size, "per": batch.timeout, "most": batch.max_bytes}
            self._add("batch", self._function, batch.key, **numbers)

    def _limit(self, limits: list[tuple[str, Concurrency]]) -> None:
        gates = {}
        keyed = set()
        for scope, limit in limits:
            gate = self._gate("concurrency", scope, limit.key, shared=limit.pool is not None)
            gates[gate.id] = msgspec.structs.replace(gate, limit=limit.limit, mode=limit.while_waiting)
            if limit.key is not None:
                keyed.add(gate.id)
        ordered = sorted(gates.values(), key=lambda gate: (gate.mode == "release", gate.id not in keyed, gate.id))
        if keyed:
            self._homes["concurrency"] = [gate for gate in ordered if gate.id in keyed][-1].partition
        throttle = self._flow.throttle
        if throttle is not None:
            gate = self._gate("throttle", self._function, throttle.key)
            gate = msgspec.structs.replace(gate, limit=throttle.limit + throttle.burst, per=throttle.per)
            unkeyed = (number for number, one in enumerate(ordered) if one.id not in keyed)
            ordered.insert(len(ordered) if throttle.key is None else next(unkeyed, len(ordered)), gate)
        self._gates += ordered

    def _add(self, kind: str, scope: str, key: str | None, **numbers: int | str) -> None:
        gate = msgspec.structs.replace(self._gate(kind, scope, key), **numbers)
        self._gates.append(gate)
        if key is not None:
            self._homes[kind] = gate.partition

    def _gate(self, kind: str, scope: str, key: str | None, *, shared: bool = False) -> Gate:
        canonical, text = ("", "") if key is None else self._key(kind, key)
        # A pool may be called as a function is. An own key of nothing is no text of JSON.
        whose = "pool" if shared else "function"
        replay_id = self._replay_id if kind in _KINDS_OF_A_REPLAY else ""
        gate_id = digest(kind, whose, scope, canonical, replay_id)
        return Gate(kind, gate_id, scope, text, home_partition(gate_id, self._partitions))

    def _key(self, kind: str, text: str) -> tuple[str, str]:
        try:
            return compile_expression(text).key(self._scope)
        except (ExpressionError, EvaluationError) as error:
            raise _UnfitError("invalid-key", kind, error) from None

    def _overlap(self) -> tuple[str, str]:
        """Return what a tick does beside one before it, and what both are counted under; nothing for other events."""
        if not self._tick_of:
            return "", ""
        try:
            index = self._scope.view("event")["data"].get("index")
        except ScopeError as error:
            raise _UnfitError("invalid-tick", "data", error) from None
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(self._tick_of):
            wrong = ValueError(f"the index of the cron is {index!r}, and {self._function} has {len(self._tick_of)}")
            raise _UnfitError("invalid-tick", "data", wrong)
        return self._tick_of[index].overlap, f"{self._function}/cron/{index}"

    def _head_start(self) -> int:
        text = self._flow.priority
        if text is None:
            return 0
        try:
            seconds = compile_expression(text).number(self._scope)
        except (ExpressionError, EvaluationError) as error:
            raise _UnfitError("invalid-priority", "priority", error) from None
        return round(max(-MOST_HEAD_START, min(seconds, MOST_HEAD_START)) * 1_000)
