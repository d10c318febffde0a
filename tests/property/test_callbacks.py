"""Callbacks, completed by anybody at any time, while their runs are executed, unloaded, taken over, cancelled and ended."""

import base64
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from stream_engine.core.partition.turn import Deliver, Execute, Function, Release, Stop
from stream_engine.core.records.history import CompletionDisposed, RunEnded, StepRecorded
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit, Cancel, CompleteCallback
from stream_engine.core.records.tables import STEPS
from stream_engine.core.routing.callback_token import Named, is_genuine, read, token_of
from stream_engine.core.stages.commands import AwaitCallback, FinishRun, Stopped, Suspend
from tests.unit.core.network import Network
from tests.unit.core.waiting import caught_up

SECRET = bytes(range(32))
STEPS_OF = ("ask", "ask:1", "other")
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(NAMES, st.integers(0, 99), NAMES)
def test_a_token_names_its_callback_and_needs_no_quoting(app: str, partition: int, step: str) -> None:
    named = Named(app, f"{'a' * 24}-{partition}", step)
    token = token_of(SECRET, named)
    assert read(token) == named
    assert is_genuine(SECRET, token)
    assert not is_genuine(SECRET[1:], token)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert not token.startswith("-")


@given(st.data())
def test_whatever_is_changed_in_a_token_makes_another_one(data: st.DataObject) -> None:
    """Also what decodes to the same bytes."""
    token = token_of(SECRET, Named("shop", f"{'a' * 24}-3", "approve"))
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.text(st.characters(codec="utf-8"), max_size=2)) + token[at + 1 :]
    assert is_genuine(SECRET, changed) == (changed == token)


@given(st.one_of(st.text(), st.binary().map(lambda raw: f"cb1.{base64.urlsafe_b64encode(raw).decode()}.x")))
def test_what_is_no_token_is_told_so(text: str) -> None:
    assert not is_genuine(SECRET, text)


class Callbacks(RuleBasedStateMachine):
    """One run with three callbacks, and what has become of each, as whoever looks on from outside would have it."""

    attempts = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(1, Function("pay", ("1",)))
        self.network.give(0, Admit(Event("pay", "id:7", "7", 0, 0, "shop.events", 0, 7, b"{}"), ["pay"]))
        self.network.settle()
        [execute] = self.network.effects
        self.run_id = execute.run_id
        self.loaded = True
        self.ended = False
        self.until: dict[str, int | None] = {}
        self.outcomes: dict[str, bytes] = {}
        self.expected: dict[str, str] = {}
        self.delivered: dict[str, bytes] = {}
        self.signals = 0
        self._perform()

    def _perform(self) -> None:
        """Do what was decided, as an execution does."""
        self.network.settle()
        caught_up(self.network)
        effects, self.network.effects = self.network.effects, []
        for effect in effects:
            if isinstance(effect, Execute):
                self.loaded, self.signals = True, 0
                known = {step: one.result for step, one in effect.steps.items() if not one.wake_at}
                # Whoever executes it anew finds what those before have got.
                assert known.items() >= self.delivered.items()
                self.delivered = {step: result or b"" for step, result in known.items()}
            elif isinstance(effect, Deliver) and self.loaded:
                assert effect.step_id not in self.delivered
                self.signals += 1
                self.delivered[effect.step_id] = effect.step.result or b""
            elif isinstance(effect, Release):
                self.loaded = False
            elif isinstance(effect, Stop):
                self.network.post(0, Stopped(self.run_id))
                self._perform()

    @precondition(lambda self: self.loaded and not self.ended)
    @rule(step=st.sampled_from(STEPS_OF), timeout=st.sampled_from((None, None, 50, 500)))
    def await_callback(self, step: str, timeout: int | None) -> None:
        self.network.post(0, AwaitCallback(self.run_id, step, timeout))
        if step not in self.until and step not in self.outcomes:
            self.until[step] = None if timeout is None else self.network.now + timeout
        self._perform()

    @rule(target=attempts, step=st.sampled_from(STEPS_OF))
    def complete(self, step: str) -> str:
        """Somebody completes a callback, whether it is recorded that it waits or not."""
        name = f"c{len(self.expected)}"
        self._complete(step, name)
        return name

    @rule(name=consumes(attempts), step=st.sampled_from(STEPS_OF))
    def complete_again(self, name: str, step: str) -> None:
        self._complete(step, f"{name} again {len(self.expected)}")

    @rule(step=st.sampled_from(STEPS_OF), milliseconds=st.sampled_from((1, 49, 50, 500)))
    def complete_while_nobody_leads(self, step: str, milliseconds: int) -> None:
        """What came in time counts, however late somebody takes it."""
        self._complete(step, f"c{len(self.expected)}", milliseconds)

    def _complete(self, step: str, name: str, taken_after: int = 0) -> None:
        if self.ended:
            self.expected[name] = "run-ended"
        elif step in self.outcomes:
            self.expected[name] = "timed-out" if self.outcomes[step] == b"null" else "already-completed"
        else:
            self.expected[name] = "completed"
            self.outcomes[step] = f'"{name}"'.encode()
            self.until.pop(step, None)
        self.network.give(0, CompleteCallback(self.run_id, step, f'"{name}"'.encode(), name, "test"))
        self.pass_time(taken_after)

    @precondition(lambda self: self.loaded and self.until)
    @rule()
    def suspend(self) -> None:
        """The code waits for nothing else."""
        self.network.post(0, Suspend(self.run_id, self.signals))
        self._perform()

    @rule()
    def take_over(self) -> None:
        self.loaded = False
        self.network.take_over(0)
        self._perform()

    @rule(milliseconds=st.sampled_from((1, 49, 50, 500)))
    def pass_time(self, milliseconds: int) -> None:
        self.network.now += milliseconds
        for step, until in list(self.until.items()):
            if until is not None and until <= self.network.now and not self.ended:
                self.outcomes[step] = b"null"
                del self.until[step]
        self._perform()

    @precondition(lambda self: not self.ended)
    @rule(die=st.integers(1, 6))
    def cancel(self, die: int) -> None:
        """Not too often: little happens to a run that has ended."""
        if die != 6:
            return
        self.network.give(0, Cancel(self.run_id, "ada", seek=True))
        self.ended = True
        self._perform()

    @precondition(lambda self: self.loaded and not self.ended)
    @rule(die=st.integers(1, 6))
    def finish(self, die: int) -> None:
        if die != 6:
            return
        self.network.post(0, FinishRun(self.run_id, b"1"))
        self.ended = True
        self._perform()

    @invariant()
    def every_completion_has_become_what_it_had_to(self) -> None:
        told = [one for one in self.network.told if isinstance(one, CompletionDisposed)]
        assert Counter(one.completion_id for one in told) == dict.fromkeys(self.expected, 1)
        assert {one.completion_id: one.disposition for one in told} == self.expected

    @invariant()
    def every_callback_has_one_outcome(self) -> None:
        settled = [one for one in self.network.told if isinstance(one, StepRecorded) and one.status == "completed"]
        assert {one.step_id: (one.result or "").encode() for one in settled} == self.outcomes
        assert len(settled) == len(self.outcomes)

    @invariant()
    def the_code_has_what_is_recorded(self) -> None:
        """A run that is not loaded is executed anew for whatever its callbacks come to."""
        if not self.ended:
            assert self.delivered == self.outcomes

    @invariant()
    def nothing_is_left_of_a_run_that_has_ended(self) -> None:
        ends = [one for one in self.network.told if isinstance(one, RunEnded)]
        assert len(ends) == int(self.ended)
        if self.ended:
            [store] = self.network.stores()
            assert not list(store.scan(STEPS.prefix, STEPS.stop))


TestCallbacks = Callbacks.TestCase
TestCallbacks.settings = settings(deadline=None, stateful_step_count=30)


def test_a_callback_is_over_once_all_events_are_routed_that_may_complete_it() -> None:
    network = Network(1, Function("pay", ("1",)))
    network.give(0, Admit(Event("pay", "id:7", "7", 0, 0, "shop.events", 0, 7, b"{}"), ["pay"]))
    network.settle()
    [execute] = network.effects
    for step in ("by event", "too late", "never"):
        network.post(0, AwaitCallback(execute.run_id, step, 500))
    network.settle()
    until = network.now + 500
    network.now = until + 10_000
    network.settle()
    for step, at in (("by event", until), ("too late", until + 1)):
        network.give(0, CompleteCallback(execute.run_id, step, b"7", step, "event", at=at))
    network.settle()
    assert [(one.step_id, one.result) for one in _completed(network)] == [("by event", "7")]
    caught_up(network)
    assert [(one.step_id, one.result) for one in _completed(network)[1:]] == [("never", "null"), ("too late", "null")]
    told = {one.completion_id: one.disposition for one in network.told if isinstance(one, CompletionDisposed)}
    assert told == {"by event": "completed", "too late": "timed-out"}


def _completed(network: Network) -> list[StepRecorded]:
    return [one for one in network.told if isinstance(one, StepRecorded) and one.status == "completed"]
