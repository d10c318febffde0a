"""What must be true of waits for events once a simulated world has come to rest: none has missed its event, and no run has had one twice."""

import json
from collections import defaultdict

from stream_engine.core.records.history import StepRecorded
from stream_engine.core.records.wanted import Sender
from tests.simulation.again import Times
from tests.simulation.programs import Expect, SimFunction
from tests.simulation.referee import Referee
from tests.simulation.sent import Sendings, Sent, Trigger, expects, is_meant

PROMPT = 10_000
"""Within how many milliseconds happens what is to happen at once: faults last for a second, and what waits in vain does so for minutes."""

_Step = tuple[str, str]


def audit_waits(referee: Referee, sendings: Sendings, functions: dict[str, SimFunction], times: Times) -> None:
    """Object to a wait that had no event, another one than it wanted, a later one than was there, or one that its run has had."""
    judge = _Judge(referee, sendings, functions, times)
    for step, wait in referee.waits.items():
        settled = referee.settled.get(step)
        if settled is not None and step in judge.got:
            judge.answered(step, wait, settled[1])
        elif settled is not None:
            judge.in_vain(step, wait, settled[1])


class _Judge:
    """Knows which step has had which event."""

    def __init__(self, referee: Referee, sendings: Sendings, functions: dict[str, SimFunction], times: Times) -> None:
        self.got = {step: event for step in referee.waits if (event := _result(referee, sendings, step)) is not None}
        self._referee = referee
        self._sendings = sendings
        self._functions = functions
        self._times = times
        self._had: defaultdict[str, dict[str, _Step]] = defaultdict(dict)
        for step, event in self.got.items():
            trigger = sendings.trigger(step[0])
            if event.identity == trigger.identity or event.identity in self._had[step[0]]:
                referee.object(2, f"{step[0]} has had {event} twice, now by {step[1]}")
            self._had[step[0]][event.identity] = step

    def answered(self, step: _Step, wait: StepRecorded, settled: StepRecorded) -> None:
        """Judge a wait that has had an event."""
        event, (expect, trigger, earliest) = self.got[step], self._about(step, wait)
        if not is_meant(expect, trigger, event) or event.at < earliest:
            self._referee.object(1, f"{step} waited for {expect} since {earliest}, for {trigger}, and has had {event}")
        if not self._is_seen(step[0], event.sender):
            self._referee.object(1, f"{step} has had {event}, which is of another replay, or is sent anew in its own")
        if event.at > wait.started_at + expect.timeout + self._referee.schedule.skew:
            self._referee.object(
                6, f"{step} waited for {expect} since {wait.started_at}, and has had {event}, too late"
            )
        for other in self._missed(step, wait, settled, event.at):
            if other.place < event.place:
                self._referee.object(6, f"{step} waited for {expect}, and has had {event}, later than {other}")
        passed = self._sendings.passed(event)
        if passed is not None and settled.at > max(wait.started_at, passed) + PROMPT:
            self._referee.object(6, f"{step} has had {event} at {settled.at}, which lanes had passed at {passed}")
        self._referee.schedule.counts["wait answered"] += 1
        came_before = event.at < wait.started_at - self._referee.schedule.skew
        self._referee.schedule.counts["wait answered with what had come before it"] += came_before
        self._referee.schedule.counts["wait answered with what a run sent"] += event.sender is not None

    def in_vain(self, step: _Step, wait: StepRecorded, settled: StepRecorded) -> None:
        """Judge a wait that has had none."""
        about = self._about(step, wait)
        until = wait.started_at + about[0].timeout
        if not until <= settled.at <= until + PROMPT:
            self._referee.object(6, f"{step} was to wait until {until}, and was told at {settled.at} that it had")
        for event in self._missed(step, wait, settled, until, passed=False):
            self._referee.object(6, f"{step} waited for {about} until {until}, and missed {event}")
        self._referee.schedule.counts["wait in vain"] += 1

    def _missed(
        self, step: _Step, wait: StepRecorded, settled: StepRecorded, until: int, *, passed: bool = True
    ) -> list[Sent]:
        """Return what a wait was for, that was there before a time, and that the run has had by no wait of that time; only what lanes had ``passed`` by then, or all."""
        expect, trigger, earliest = self._about(step, wait)
        return [
            event
            for event in self._sendings.events
            if is_meant(expect, trigger, event)
            and event.at >= earliest
            and (at := self._sendings.passed(event) if passed else event.at) is not None
            and at + self._referee.schedule.skew < until
            and event.identity != trigger.identity
            and not self._was_had(step[0], event, settled.at)
            and self._is_seen(step[0], event.sender)
        ]

    def _was_had(self, run: str, event: Sent, by: int) -> bool:
        step = self._had[run].get(event.identity)
        return step is not None and self._referee.waits[step].started_at <= by

    def _about(self, step: _Step, wait: StepRecorded) -> tuple[Expect, Trigger, int]:
        """Return what a step waits for, what made its run begin, and since when the event may have come; a replayed run looks back to its beginning."""
        run, name = step
        expect = expects(self._functions[wait.function].program)[name]
        is_live = self._referee.started[run].replay_id is None
        return expect, self._sendings.trigger(run), wait.started_at - expect.lookback if is_live else 0

    def _is_seen(self, run: str, sender: Sender | None) -> bool:
        return self._times.sees(self._referee.started[run].replay_id, sender)


def _result(referee: Referee, sendings: Sendings, step: _Step) -> Sent | None:
    settled = referee.settled.get(step)
    result = None if settled is None else json.loads(settled[1].result or "null")
    return None if result is None else sendings.at(result["partition"], result["offset"])
