"""What an event means for the functions of two catalogues: which it is for, behind which gates, and which cannot use it."""

from stream_engine.core.functions.match import Matched
from stream_engine.core.records.requests import Asked, Unfit
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.views.rehearsal import Difference, cut


class Meant:
    """What an event means by one catalogue; by ``rejection``, that it is none.

    Attributes:
        asked: the functions that take it, with their gates.
        unfit: the functions that cannot use it, and why.
        functions: all of them.
    """

    def __init__(self, matched: Matched, rejection: Rejection | None = None) -> None:
        self.asked: dict[str, Asked] = {function: Asked(function, ()) for function in matched.functions}
        self.asked |= {asked.function: asked for asked in matched.asked}
        self.unfit: dict[str, Unfit] = {unfit.function: unfit for unfit in matched.unfit}
        if rejection is not None:
            self.unfit |= {function: Unfit(function, rejection.reason, rejection.detail) for function in self.asked}
        self.functions = self.asked.keys() | self.unfit.keys()

    def difference(self, function: str, new: "Meant") -> Difference | None:
        """Return how what the event means for a function differs by another catalogue, or None.

        How many runs a gate lets through is no difference: it concerns no run more than another.
        """
        if function not in new.functions:
            return Difference("no run") if function in self.functions else None
        if function not in self.functions:
            return Difference("new run")
        unfit = new.unfit.get(function)
        if function in self.unfit:
            return Difference("new run", old="dead letter") if unfit is None else None
        if unfit is not None:
            return Difference("dead letter", new=cut(f"{unfit.reason}: {unfit.detail}"))
        return _changed(self.asked[function], new.asked[function])


def _changed(before: Asked, after: Asked) -> Difference | None:
    """Return how what a function asks for has changed."""
    if _ids(before) != _ids(after) or before.head_start != after.head_start:
        return Difference("flow control", old=_told(before), new=_told(after))
    if before.cancellers != after.cancellers:
        return Difference("cancelling events", old=_cancellers(before), new=_cancellers(after))
    return None


def _ids(asked: Asked) -> list[str]:
    return [gate.id for gate in asked.gates]


def _told(asked: Asked) -> str:
    words = [f"{gate.kind} {gate.key}".rstrip() for gate in asked.gates]
    if asked.head_start:
        words.append(f"head start {asked.head_start / 1_000:g} s")
    return cut(", ".join(words) or "none") or ""


def _cancellers(asked: Asked) -> str:
    words = [
        str(one.wanted) + (f" within {one.timeout / 1_000:g} s" if one.timeout is not None else "")
        for one in asked.cancellers
    ]
    return cut(", ".join(words) or "none") or ""
