"""A gate while a decision deals with it: its numbers, who has passed, and who waits in which order."""

from msgspec.structs import replace

from stream_engine.core.functions.flow import numbers
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import Answer, Ask, Cancel
from stream_engine.core.records.tables import CLAIMS, GATES, PLACES, TOKENS, Claim, GateState, Timer, Token

_PLACE_BYTES = 20


class Keeper:
    """The state of one gate, to be changed and then saved.

    Attributes:
        turn: the decision that deals with the gate.
        gate: what was last declared of it.
        now: what is to be saved.
        clock: the time by which starts are counted: journal time, or in a replay the time of the events.
        limit, window: what the app's code declares of the gate, or where it has no such function what the last run said.
    """

    def __init__(self, turn: Turn, known: GateState) -> None:
        self.turn = turn
        self.now = known
        self.gate = known.gate
        self.clock = turn.now
        self.limit, self.window = _declared(turn, known) or (known.gate.limit, known.gate.per)
        self._key = GATES.key(known.gate.id)
        self._places = PLACES.key(known.gate.id, "")

    @classmethod
    def of(cls, turn: Turn, gate_id: str) -> "Keeper | None":
        """Return the keeper of a gate that somebody has passed or waits at, or None."""
        known = turn.state.get(GATES, GATES.key(gate_id))
        return None if known is None else cls(turn, known)

    @classmethod
    def asked(cls, turn: Turn, ask: Ask) -> "Keeper":
        """Return the keeper of a gate that a run asks for; what the latest run says of the gate holds for all."""
        known = turn.state.get(GATES, GATES.key(ask.gate.id)) or GateState(ask.gate, ask.function)
        return cls(turn, replace(known, gate=ask.gate, function=ask.function))

    def save(self) -> None:
        """Put the state; one that says nothing more is deleted."""
        now = self.now
        if now.held or now.waiting or now.number or now.timer:
            self.turn.state.put(self._key, now)
        else:
            self.turn.state.delete(self._key)

    def claim(self, run_id: str) -> Claim | None:
        """Return the claim of a run."""
        return self.turn.state.get(CLAIMS, CLAIMS.key(self.gate.id, run_id))

    def grant(self, run_id: str, number: int, order: int | None = None) -> None:
        """Let a run pass that does not wait (any more); ``number`` is that of its question."""
        self.turn.state.put(CLAIMS.key(self.gate.id, run_id), Claim(self.turn.now))
        self.now = replace(self.now, held=self.now.held + 1)
        self.answer(Answer(run_id, self.gate.id, "", order, number=number))

    def share(self, run_id: str, number: int, holder: str) -> bool:
        """Let a run pass into the slot that another one has, its own or as a guest; return False if that has none."""
        claim = self.claim(holder)
        if claim is None or claim.place:
            return False
        owner = claim.of or holder
        self._count_guests(owner, 1)
        self.turn.state.put(CLAIMS.key(self.gate.id, run_id), Claim(self.turn.now, of=owner))
        self.answer(Answer(run_id, self.gate.id, number=number))
        return True

    def come_back(self, run_id: str, claim: Claim, number: int) -> None:
        """Let a run pass into its own slot, which it has left to its guests."""
        self.turn.state.put(CLAIMS.key(self.gate.id, run_id), replace(claim, left=False))
        self.answer(Answer(run_id, self.gate.id, number=number))

    def grant_freely(self, run_id: str, number: int) -> None:
        """Let a run pass that holds nothing by it."""
        self.answer(Answer(run_id, self.gate.id, number=number))

    def refuse(self, run_id: str, number: int, disposition: str) -> None:
        """Turn a run away."""
        self.answer(Answer(run_id, self.gate.id, disposition, number=number))

    def answer(self, answer: Answer) -> None:
        """Tell a run's home."""
        self.turn.command(partition_of(answer.run_id), answer)

    def cancel(self, run_id: str, reason: str) -> None:
        """Have a run end, wherever it is."""
        self.turn.command(partition_of(run_id), Cancel(run_id, reason))

    def queue(self, ask: Ask, earliest: int | None) -> None:
        """Have a run wait at its place, and tell it so."""
        turn = self.turn
        order = ask.order.to_bytes(8, "big") + ask.partition.to_bytes(4, "big") + ask.offset.to_bytes(8, "big")
        place = self._places + order + ask.run_id.encode()
        turn.places.add(self.gate.id, place, turn.now)
        turn.state.put(CLAIMS.key(self.gate.id, ask.run_id), Claim(turn.now, place, ask.number))
        front = min(place, self.now.front) if self.now.waiting else place
        self.now = replace(self.now, waiting=self.now.waiting + 1, front=front)
        told = Answer(
            ask.run_id, self.gate.id, waits=True, earliest=earliest, place=self.now.waiting, number=ask.number
        )
        self.answer(told)

    def order(self, claim: Claim) -> int:
        """Return the order by which a run waits."""
        start = len(self._places)
        return int.from_bytes(claim.place[start : start + 8], "big")

    def advance(self, run_id: str, order: int) -> None:
        """Have a run that waits take the place of an order, unless its own comes before it."""
        claim = self.claim(run_id)
        if claim is None or not claim.place or order >= self.order(claim):
            return
        start = len(self._places)
        place = claim.place[:start] + order.to_bytes(8, "big") + claim.place[start + 8 :]
        self.turn.places.leave(self.gate.id, claim.place)
        self.turn.places.add(self.gate.id, place, claim.since)
        self.turn.state.put(CLAIMS.key(self.gate.id, run_id), replace(claim, place=place))
        self.now = replace(self.now, front=min(place, self.now.front))

    def first(self) -> tuple[str, Claim]:
        """Return the run whose turn it is, of those that wait, and its claim."""
        places, gate_id = self.turn.places, self.gate.id
        while True:
            place = places.first(gate_id, self.now.front)
            assert place is not None
            run_id = place[len(self._places) + _PLACE_BYTES :].decode()
            claim = self.claim(run_id)
            if claim is not None and claim.place == place:
                self.now = replace(self.now, front=place)
                return run_id, claim
            places.pass_over(gate_id)

    def leave(self, run_id: str, claim: Claim) -> None:
        """Forget a run's claim; a slot is free once nobody is in it any more."""
        key = CLAIMS.key(self.gate.id, run_id)
        if claim.guests:
            self.turn.state.put(key, replace(claim, left=True))
            return
        self.turn.state.delete(key)
        if claim.place:
            self.turn.places.leave(self.gate.id, claim.place)
            self.now = replace(self.now, waiting=self.now.waiting - 1)
        elif claim.of:
            self._count_guests(claim.of, -1)
        else:
            self.now = replace(self.now, held=self.now.held - 1)

    def set_timer(self, at: int) -> None:
        """Have the gate looked at again at a time, unless that happens earlier anyway."""
        at = max(at, self.turn.now)
        if not self.now.timer or at < self.now.timer:
            self.turn.set_timer(at, Timer("gate", self.gate.id))
            self.now = replace(self.now, timer=at)

    def spend(self) -> None:
        """Count a start in the windows from now on."""
        number, limit = self.now.number, self.limit
        self.turn.state.put(TOKENS.numbered_key(self.gate.id, number), Token(self.clock))
        if number >= limit:
            self.turn.state.delete(TOKENS.numbered_key(self.gate.id, number - limit))
        self.now = replace(self.now, number=number + 1)

    def token(self, number: int) -> int | None:
        """Return when a start was, or None if that was longer ago than any window reaches."""
        token = None if number < 0 else self.turn.state.get(TOKENS, TOKENS.numbered_key(self.gate.id, number))
        return None if token is None else token.at

    def _count_guests(self, owner: str, more: int) -> None:
        claim = self.claim(owner)
        assert claim is not None
        claim = replace(claim, guests=claim.guests + more)
        if claim.left and not claim.guests:
            self.leave(owner, claim)
        else:
            self.turn.state.put(CLAIMS.key(self.gate.id, owner), claim)


def _declared(turn: Turn, known: GateState) -> tuple[int, int] | None:
    function = turn.rules.functions.get(known.function)
    return None if function is None else numbers(function.flow, function.id, known.gate.kind, known.gate.scope)
