"""Watches the gates that runs pass, record by record of all journals, and objects to any run that is let through too early, too late or out of turn.

A gate has one owner, and so one journal, whose time never goes back: what the owner let through, and when, is judged by that, whatever the clocks of
other machines show. What a run's home believes to have passed must at every moment be known to the owner. Limits are those that the app declares.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

from stream_engine.core.functions.flow import Flow
from stream_engine.core.records.history import EventDisposed
from stream_engine.core.records.journal import Decided, Gate
from stream_engine.core.records.tables import CLAIMS, EVENTS, GATES, PLACES, RUNS, TOKENS, Claim, GateState, Run, parts
from tests.simulation.fold import NaiveFold
from tests.simulation.programs import SimFunction

Object = Callable[[int, str], None]

HEAD_START = 60_000
"""How many milliseconds those have whose events are named ``a``, where priority is declared."""


_Shared = tuple[str, str, str, str | None]
"""The kind, the scope and the key of a gate, and the replay that has it for itself."""

UNSEEN = -1
"""When a start was of which it is not known."""


class Sharing:
    """Knows which gates live and replayed runs have together: all but rate limits, of which each replay has its own.

    Attributes:
        moments: of each rate limit, the moments of the runs that ask it.
    """

    def __init__(self, object_: Object) -> None:
        self.moments: defaultdict[str, set[int]] = defaultdict(set)
        self._object = object_
        self._known: dict[str, _Shared] = {}
        self._ids: dict[_Shared, str] = {}

    def is_live(self, gate_id: str) -> bool:
        """Return whether a gate is of no single replay."""
        return gate_id not in self._known or self._known[gate_id][3] is None

    def judge(self, run: Run) -> None:
        """Object to a gate of a run that others have otherwise."""
        for gate in run.gates:
            is_own = gate.kind == "rate limit"
            if is_own:
                self.moments[gate.id].add(run.moment)
            about = gate.kind, gate.scope, gate.key, run.replay_id if is_own else None
            known = self._known.setdefault(gate.id, about), self._ids.setdefault(about, gate.id)
            if known != (about, gate.id):
                self._object(5, f"{about} is to be the gate {gate.id}, and {known} is known")


class Gatekeeper:
    """Knows of each gate who has passed it, who waits there, and when runs began."""

    def __init__(self, object_: Object, functions: dict[str, SimFunction]) -> None:
        self._object = object_
        self._functions = functions
        self._declared = dict(_declared(functions))
        self._gates: dict[str, GateState] = {}
        self._claims: defaultdict[str, dict[str, Claim]] = defaultdict(dict)
        self._places: defaultdict[str, set[bytes]] = defaultdict(set)
        self._holds: dict[str, set[str]] = {}
        self._runs: dict[str, Run] = {}
        self._throttles: defaultdict[str, set[str]] = defaultdict(set)
        self._cancelled: set[str] = set()
        self._begun: set[tuple[str, str]] = set()
        self._let_in: defaultdict[str, list[int]] = defaultdict(list)
        self._passed: defaultdict[str, set[str]] = defaultdict(set)
        self._sharing = Sharing(object_)
        self.grants = 0

    def counted(self, fold: NaiveFold, record: Decided, started: Callable[[str], bool]) -> None:
        """Take a record that counts, and that ``fold`` has not taken yet; ``started`` says whether history has told of a run's start."""
        gates = self._take_gates(fold, record)
        for told in (one for one in record.history if isinstance(one, EventDisposed)):
            if told.disposition == "cancelled":
                self._cancelled.add(told.function)
            elif told.disposition == "skipped" and told.replay_id is not None:
                self._object(5, f"{told}, and what is replayed is to wait there")
        before = {gate: dict(self._claims[gate]) for gate in self._touched(record)}
        left = self._take_claims(record)
        self._take_runs(record)
        tokens = _tokens(record)
        for gate, known in gates.items():
            self._judge_starts(gate, known, tokens[gate], record.now)
        for gate, run_id in left:
            self._judge_begin(gate, run_id, record.now, started)
        for gate, claims in before.items():
            self._judge_turn(gate, claims)
        for gate in before.keys() | gates.keys():
            self._judge_state(gate)
        for run_id in {run_id for _, run_id in left}:
            self._judge_home(run_id)

    def over(self, started: Callable[[str], bool]) -> None:
        """Judge the end: whoever has begun behind a throttle has been counted there."""
        for run_id, throttles in self._throttles.items():
            for gate in throttles:
                if started(run_id) and (gate, run_id) not in self._begun:
                    self._object(5, f"{run_id} began, and {self._name(gate)} has not counted it")
        for gate_id, runs in self._passed.items():
            # A singleton right behind it may refuse a run in the same record, so that nothing shows that it had passed; and so may who cancels it.
            scope, moments = self._gates[gate_id].gate.scope, self._sharing.moments[gate_id]
            if not self._sharing.is_live(gate_id) and set(self._let_in[gate_id]) - moments - {UNSEEN}:
                self._object(
                    5, f"{self._name(gate_id)} has counted {self._let_in[gate_id]}, and was asked by {moments}"
                )
            few = len(runs) < len(self._let_in[gate_id]) and (
                self._functions[scope].flow.singleton or scope in self._cancelled
            )
            if len(self._let_in[gate_id]) != len(runs) and not few:
                self._object(
                    5, f"{self._name(gate_id)} has counted {self._let_in[gate_id]}, and has let through {runs}"
                )

    def _touched(self, record: Decided) -> set[str]:
        keys = [*(key for key, _ in record.puts), *record.deletes]
        return {parts(key)[0] for key in keys if key.startswith(CLAIMS.prefix)}

    def _take_gates(self, fold: NaiveFold, record: Decided) -> dict[str, tuple[GateState | None, GateState | None]]:
        """Return the gates of the record as they were, and as they are."""
        changed: dict[str, tuple[GateState | None, GateState | None]] = {}
        for key, value in record.puts:
            if key.startswith(GATES.prefix):
                raw = fold.data.get(key)
                now = GATES.decode(value)
                self._gates[parts(key)[0]] = now
                changed[parts(key)[0]] = (None if raw is None else GATES.decode(raw), now)
        for key in record.deletes:
            if key.startswith(GATES.prefix) and (raw := fold.data.get(key)) is not None:
                changed[parts(key)[0]] = (GATES.decode(raw), None)
        return changed

    def _take_claims(self, record: Decided) -> list[tuple[str, str]]:
        """Take who claims what; return who has left which gate."""
        left = []
        for key, value in record.puts:
            if key.startswith(CLAIMS.prefix):
                gate, run_id = parts(key)
                claim = self._claims[gate][run_id] = CLAIMS.decode(value)
                self.grants += not claim.place
            elif key.startswith(PLACES.prefix):
                self._places[_gate_of(key)].add(key)
        for key in record.deletes:
            if key.startswith(CLAIMS.prefix):
                gate, run_id = parts(key)
                self._claims[gate].pop(run_id, None)
                left.append((gate, run_id))
            elif key.startswith(PLACES.prefix):
                self._places[_gate_of(key)].discard(key)
        return left

    def _take_runs(self, record: Decided) -> None:
        for key, value in record.puts:
            if key.startswith(RUNS.prefix):
                run = RUNS.decode(value)
                [run_id] = parts(key)
                if not run.gates:
                    # Whoever has begun has nothing to do with a throttle any more.
                    self._holds.pop(run_id, None)
                else:
                    self._judge_gates(run_id, run, dict(record.puts).get(EVENTS.key(run_id)))
                    self._sharing.judge(run)
                    self._runs[run_id] = run
                    self._throttles[run_id] |= {gate.id for gate in run.gates if gate.kind == "throttle"}
                    for gate in run.gates[: run.passed]:
                        if gate.kind == "rate limit":
                            self._passed[gate.id].add(run_id)
                    self._holds[run_id] = {gate.id for gate in run.gates[: run.passed] if _holds(gate, run)}
                    self._judge_home(run_id)
        for key in record.deletes:
            if key.startswith(RUNS.prefix):
                self._holds.pop(parts(key)[0], None)

    def _judge_gates(self, run_id: str, run: Run, event: bytes | None) -> None:
        """Object to gates that are not those that the function declares, in the written order, and to a place that is not by arrival and priority."""
        if run_id in self._runs or run.of_run is not None:
            return
        flow = self._functions[run.function].flow
        kinds = [gate.kind for gate in run.gates]
        # Who has begun in the very record that made it has nothing to do with a throttle any more.
        expected_kinds = [kind for kind in _kinds(flow) if not (kind == "throttle" and run.started_at)]
        if kinds != expected_kinds:
            self._object(5, f"{run_id} of {run.function} asks {kinds}, and {expected_kinds} are declared")
        if event is None or run.span is not None:
            return
        about = EVENTS.decode(event)
        gathers = flow.debounce is not None or flow.batch is not None
        if run.replay_id is not None and not gathers and b'"by"' not in about.data:
            moment = max(about.timestamp, about.ts)
            if run.moment != moment:
                self._object(5, f"{run_id} has the moment {run.moment}, and its event {moment}")
        if flow.singleton is not None:
            return
        # A replay queues up behind what is live.
        arrived = max(about.timestamp if run.replay_id is None else run.created_at, about.ts)
        expected = arrived - (HEAD_START if flow.priority and about.name == "a" else 0)
        if run.order != expected:
            self._object(6, f"{run_id} waits its turn by {run.order}, and arrived at {expected} with its head start")

    def stands_at_none(self, replay: str, started: Callable[[str], bool]) -> None:
        """Object to a run of a halted replay that has not begun, and holds or wants what others could have."""
        for gate, claims in self._claims.items():
            for run_id in claims:
                run = self._runs[run_id]
                if run.replay_id == replay and run.of_run is None and not started(run_id):
                    self._object(6, f"{run_id} of {replay}, which is halted, stands at {self._name(gate)}: {claims}")

    def _judge_home(self, run_id: str) -> None:
        """Object if a run's home believes to have passed what the owner has not let it pass, or has taken back."""
        for gate in self._holds.get(run_id, ()):
            claim = self._claims[gate].get(run_id)
            if claim is None or claim.place:
                self._object(5, f"{run_id} goes on as if it had passed {self._name(gate)}, where it has {claim}")

    def _judge_state(self, gate: str) -> None:
        """Object to more that have passed than may, and to numbers that are not those of the claims."""
        known, claims = self._gates.get(gate), self._claims[gate].values()
        slots = {claim.of or run_id for run_id, claim in self._claims[gate].items() if not claim.place}
        held, waiting = len(slots), {claim.place for claim in claims if claim.place}
        if known is None:
            return
        if known.gate.kind != "rate limit" and held > self._limit(known.gate):
            self._object(
                5, f"{self._name(gate)} has let {held} pass, and may {self._limit(known.gate)}: {self._claims[gate]}"
            )
        if waiting != self._places[gate]:
            self._object(6, f"at {self._name(gate)} wait {waiting}, in the queue are {self._places[gate]}")
        if (held or waiting) and (known.held, known.waiting) != (held, len(waiting)):
            self._object(
                5, f"{self._name(gate)} counts {known.held} and {known.waiting}, and has {held} and {len(waiting)}"
            )

    def _judge_turn(self, gate: str, before: dict[str, Claim]) -> None:
        """Object if somebody was let through while another one waited before and behind it whose turn it was."""
        now = self._claims[gate]
        still = [claim.place for run_id, claim in before.items() if claim.place and now.get(run_id) == claim]
        for run_id, claim in now.items():
            had = before.get(run_id)
            if claim.place or (had is not None and not had.place) or not still:
                continue
            if self._gates[gate].gate.kind == "singleton" and self._runs[run_id].replay_id is None:
                # Who replaces another run that has not begun has that one's place, which may be before those of replays.
                continue
            # One that came and was let through in one record shows no place, only the order by which it would have waited.
            first = min(still)
            is_behind = self._runs[run_id].order > _order_of(first) if had is None else first < had.place
            if is_behind:
                self._object(6, f"{run_id} was let through {self._name(gate)} before {first!r}, whose turn it was")

    def _judge_begin(self, gate: str, run_id: str, now: int, started: Callable[[str], bool]) -> None:
        """Judge who leaves a throttle: it has begun, unless it was given up."""
        known = self._gates.get(gate)
        if (
            known is not None
            and known.gate.kind == "throttle"
            and started(run_id)
            and (gate, run_id) not in self._begun
        ):
            self._begun.add((gate, run_id))
            self._judge_window(gate, known.gate, now)

    def _judge_starts(
        self, gate: str, change: tuple[GateState | None, GateState | None], tokens: list[int], now: int
    ) -> None:
        """Judge what a rate limit has let in; that of a replay, by the time of its events."""
        before, after = change
        if after is None or after.gate.kind != "rate limit":
            return
        # The numbers begin anew where none counts any more, which may be in the same record.
        more = after.number - (0 if before is None else before.number)
        more = max(more, len(tokens))
        # Of what came in one record, an early start is not seen any more where others of its replay lie a window behind it.
        for at in [now] * more if self._sharing.is_live(gate) else [UNSEEN] * (more - len(tokens)) + sorted(tokens):
            self._judge_window(gate, after.gate, at)

    def _judge_window(self, gate_id: str, gate: Gate, at: int) -> None:
        limit, per = self._numbers(gate)
        starts = self._let_in[gate_id]
        starts.append(at)
        if at != UNSEEN and len(starts) > limit and at - starts[-1 - limit] < per:
            self._object(5, f"{self._name(gate_id)} has {starts[-1 - limit :]} in {per} ms, and may have {limit}")

    def _limit(self, gate: Gate) -> int:
        if gate.kind == "singleton":
            return 1
        return self._numbers(gate)[0]

    def _numbers(self, gate: Gate) -> tuple[int, int]:
        found = self._declared.get((gate.kind, gate.scope))
        if found is None:
            self._object(5, f"no function declares {gate}")
            return 0, 0
        return found

    def _name(self, gate: str) -> str:
        known = self._gates.get(gate)
        return gate if known is None else f"the {known.gate.kind} {known.gate.scope} {known.gate.key}"


def _tokens(record: Decided) -> defaultdict[str, list[int]]:
    """Return when starts were that a record counts, by gate."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for key, value in record.puts:
        if key.startswith(TOKENS.prefix):
            found[_gate_of(key)].append(TOKENS.decode(value).at)
    return found


def _holds(gate: Gate, run: Run) -> bool:
    """Return whether a run needs a gate that it has passed until it gives it back; a throttle lets go of whoever begins."""
    return gate.kind in ("concurrency", "singleton") or (gate.kind == "throttle" and not run.started_at)


def _kinds(flow: Flow) -> Iterator[str]:
    if flow.rate_limit is not None:
        yield "rate limit"
    if flow.singleton is not None:
        yield "singleton"
    limits = sorted((limit.while_waiting == "release", limit.key is None) for limit in flow.concurrency)
    kinds = ["concurrency"] * len(limits)
    if flow.throttle is not None:
        unkeyed = [number for number, (_, without_key) in enumerate(limits) if without_key]
        kinds.insert(unkeyed[0] if unkeyed and flow.throttle.key is not None else len(limits), "throttle")
    yield from kinds


def _declared(functions: dict[str, SimFunction]) -> Iterator[tuple[tuple[str, str], tuple[int, int]]]:
    for function in functions.values():
        flow = function.flow
        if flow.rate_limit is not None:
            yield ("rate limit", function.id), (flow.rate_limit.limit, flow.rate_limit.per)
        if flow.throttle is not None:
            yield ("throttle", function.id), (flow.throttle.limit + flow.throttle.burst, flow.throttle.per)
        for index, limit in enumerate(flow.concurrency):
            scope = limit.pool or (f"{function.id}/{index + 1}" if index else function.id)
            yield ("concurrency", scope), (limit.limit, 0)


def _order_of(place: bytes) -> int:
    rest = place[1:].split(b"\0", 1)[1]
    return int.from_bytes(rest[:8], "big")


def _gate_of(key: bytes) -> str:
    return key[1:].split(b"\0", 1)[0].decode()
