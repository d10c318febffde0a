"""Every two and every three options that go together hold each for itself, whatever is cancelled, sleeps, is led anew, or answers for another gate."""

from collections import Counter
from itertools import combinations
from typing import Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.identity import partition_of
from stream_engine.core.records.journal import Gate
from stream_engine.core.records.requests import Answer
from stream_engine.core.records.tables import RUNS
from tests.property.test_gates import DRAWS, KEYS, WINDOW, World, gate

OPTIONS = ("idempotency", "debounce", "batch", "rate limit", "singleton", "throttle", "concurrency")
AGAINST_EACH_OTHER = ({"batch", "debounce"}, {"batch", "singleton"})
"""What is an error when it is declared; `tests/unit/test_flow_control_page.py` holds the table of the docs against the code."""

TOGETHER = [
    options
    for count in (2, 3)
    for options in combinations(OPTIONS, count)
    if not any(pair <= set(options) for pair in AGAINST_EACH_OTHER)
]
WORDS = {
    "idempotency": "duplicate",
    "debounce": "coalesced",
    "batch": "batched",
    "rate limit": "rate-limited",
    "singleton": "skipped",
}


class Strayed(World):
    """A world in which answers come that nobody has asked for: of a gate that the run has passed long ago, or of one that it does not have."""

    def live(self, draws: list[tuple[str, int]]) -> None:
        """Have such an answer come wherever a run would end."""
        for what, choice in draws:
            self._do(what, choice)
            if what == "arrive":
                self._stray(choice)
        super().live([])

    def _stray(self, choice: int) -> None:
        found = sorted(
            (key[1:].decode(), RUNS.decode(raw))
            for store in self.network.stores()
            for key, raw in store.data.items()
            if key.startswith(RUNS.prefix)
        )
        if found:
            run_id, run = found[choice % len(found)]
            wrong = ["a gate of somebody else", *(gate.id for gate in run.gates[: run.passed])]
            refused = ("", "skipped")[choice % 2]
            self.network.give(partition_of(run_id), Answer(run_id, wrong[choice % len(wrong)], refused))


class Setup(NamedTuple):
    """The numbers and words of the gates, and whether runs are cancelled."""

    mode: Literal["skip", "replace"]
    limit: int
    shared: bool
    cancels: bool

    def gates(self, options: tuple[str, ...], key: int) -> tuple[Gate, ...]:
        """Return the gates of a key, in their order; with ``shared``, all keys have one limit besides their own."""
        made: list[Gate] = []
        for option in options:
            if option == "concurrency" and self.shared:
                made.append(gate("concurrency", 7, self.limit))
            numbers: dict[str, dict[str, int | str]] = {
                "idempotency": {"per": 5 * WINDOW},
                "debounce": {"mode": "all" if self.shared else "latest", "most": 2 * WINDOW},
                "batch": {"most": 1_000},
                "singleton": {"mode": self.mode},
                "concurrency": {"mode": "hold"},
            }
            made.append(gate(option, key, self.limit + (option == "batch"), **numbers.get(option, {})))
        return tuple(made)


@pytest.mark.parametrize("options", TOGETHER, ids="+".join)
@settings(max_examples=25, deadline=None)
@given(
    DRAWS,
    st.builds(Setup, st.sampled_from(["skip", "replace"]), st.integers(1, 2), st.booleans(), st.booleans()),
)
def test_options_that_go_together_hold_together(
    options: tuple[str, ...], draws: list[tuple[str, int]], setup: Setup
) -> None:
    world = Strayed({key: setup.gates(options, key) for key in range(KEYS)}, cancels=setup.cancels)
    world.live(draws)
    if "concurrency" in options:
        assert all(most <= setup.limit for most in world.most.values())
        assert not setup.shared or world.most_of_all <= setup.limit
    if "singleton" in options:
        assert all(most <= 1 for most in world.most.values())
    if "throttle" in options:
        for starts in world.starts().values():
            pairs = zip(starts, starts[setup.limit :], strict=False)
            assert all(later - earlier >= WINDOW for earlier, later in pairs)
    allowed = {"started", *(WORDS[option] for option in options if option in WORDS)}
    if setup.cancels or ("singleton" in options and setup.mode == "replace"):
        allowed.add("cancelled")
    assert world.dispositions().keys() <= allowed
    world.nothing_is_left()


def test_all_of_the_table_is_there() -> None:
    assert Counter(map(len, TOGETHER)) == {2: 19, 3: 26}
