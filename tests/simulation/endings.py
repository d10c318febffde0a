"""What must be true of how runs came to their end, once a simulated world has come to rest: who was cancelled, by whom, and what ended in time."""

from collections import Counter

from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted
from tests.simulation.again import Times
from tests.simulation.outside import Outside
from tests.simulation.programs import SimFunction
from tests.simulation.referee import Referee
from tests.simulation.sent import Sendings, Sent, cancels
from tests.simulation.waits import PROMPT

_Functions = dict[str, SimFunction]
_BY_EVENT = "event "


def audit_endings(
    referee: Referee,
    sendings: Sendings,
    functions: _Functions,
    times: Times,
    *,
    outside: Outside,
    given_up: dict[str, int] | None,
) -> None:
    """Object to whatever ended otherwise than it had to.

    ``given_up`` has the runs that nobody waits for any more, which so may have been cancelled by nobody; it is None where gates cancel, too.
    """
    endings = _Endings(referee, sendings, functions, times, outside)
    for run in referee.started.keys() | referee.ended.keys() | endings.never_began.keys():
        endings.judge_event(run)
        endings.judge_times(run)
        endings.judge_person(run)
        if given_up is not None:
            endings.judge_reason(run, given_up)
    endings.judge_handlers()


class _Endings:
    """Knows how all runs ended, also those that never began."""

    def __init__(
        self, referee: Referee, sendings: Sendings, functions: _Functions, times: Times, outside: Outside
    ) -> None:
        self.never_began = {
            told.run_id: told
            for told in referee.disposed
            if told.disposition == "cancelled" and told.run_id and not functions[told.function].gathers
        }
        self._referee = referee
        self._sendings = sendings
        self._functions = functions
        self._times = times
        self._outside = outside

    def judge_event(self, run: str) -> None:
        """Object to a run that an event has cancelled and should not, or the other way round."""
        about = self._about(run)
        function = self._functions[about.function]
        if function.gathers:
            return
        detail, created_at = self._cancelled(run), getattr(self._referee.started.get(run), "created_at", None)
        meant = [event for event in self._sendings.events if self._cancels(function, run, event, created_at)]
        if detail is not None and detail.startswith(_BY_EVENT):
            self._referee.schedule.counts["run cancelled by an event"] += 1
            if not any(f"{_BY_EVENT}{event.name} ({event.id})" == detail for event in meant):
                trigger = self._sendings.trigger(run)
                self._referee.object(1, f"{run} of {function} and {trigger} was cancelled by {detail}, not of {meant}")
        ended = self._referee.ended.get(run)
        for event in meant if ended is not None and ended[1].status != "cancelled" else ():
            passed, at = self._sendings.passed(event), ended[1].at if ended else 0
            if passed is not None and max(passed, created_at or 0) + PROMPT < at:
                self._referee.object(6, f"{run} {about} at {at}, and had to be cancelled by {event}")

    def judge_person(self, run: str) -> None:
        """Object to a run that goes on although somebody has cancelled it."""
        ended, asked_at = self._referee.ended.get(run), self._outside.cancelled.get(run)
        if ended is None or asked_at is None or ended[1].status == "cancelled":
            return
        if ended[1].at > asked_at + PROMPT:
            self._referee.object(6, f"{run} goes on until {ended[1].at}, and was cancelled at {asked_at}")

    def judge_reason(self, run: str, given_up: dict[str, int]) -> None:
        """Object to a run that was cancelled, and that nobody wanted to be."""
        detail = self._cancelled(run)
        if detail is None or detail.startswith(_BY_EVENT) or run in self._outside.cancelled or run in given_up:
            return
        self._referee.object(2, f"{run} was cancelled ({detail}), and nobody wanted it to be")

    def judge_times(self, run: str) -> None:
        """Object to a run that began too late, took too long, or had not had its time."""
        started, ended = self._referee.started.get(run), self._referee.ended.get(run)
        about = self._about(run)
        most, trigger = self._functions[about.function].timeouts, self._sendings.trigger(run)
        if started is not None and most.start is not None:
            by = max(started.created_at, trigger.due) + most.start
            if started.at > by + PROMPT:
                self._referee.object(6, f"{run} began at {started.at}, and was to begin by {by}")
        if started is not None and ended is not None and most.finish is not None:
            by = started.at + most.finish
            if ended[1].at > by + PROMPT or (ended[1].status == "timed_out" and ended[1].at < by):
                self._referee.object(6, f"{run} {ended[1].status} at {ended[1].at}, and had until {by}")
        if ended is None or ended[1].status != "timed_out":
            return
        self._referee.schedule.counts["run timed out"] += started is not None
        self._referee.schedule.counts["run timed out before it began"] += started is None
        allowed = most.start if started is None else most.finish
        # It was due by the clock of one worker, and had its time by that of another.
        earliest = trigger.due - 2 * self._referee.schedule.skew + (allowed or 0)
        if (
            allowed is None
            or ended[1].at < earliest
            or (started is None and ended[1].at > trigger.due + allowed + PROMPT)
        ):
            self._referee.object(6, f"{run} timed out at {ended[1].at}, and had {allowed} from {trigger}")

    def judge_handlers(self) -> None:
        """Object to a handler of a cancelled run that was not called once, and to one of any other."""
        handled = Counter(
            (started.of_run, started.function)
            for started in self._referee.started.values()
            if any(started.function == function.on_cancel for function in self._functions.values())
        )
        timed_out = {run for run, (_, ended) in self._referee.ended.items() if ended.status == "timed_out"}
        gone = {run for run, (_, ended) in self._referee.ended.items() if ended.status == "cancelled"}
        for run in gone | self.never_began.keys() - timed_out:
            handler = self._functions[self._about(run).function].on_cancel
            if handler is not None:
                had = handled.pop((run, handler), 0)
                self._referee.schedule.counts["cancel handled"] += had
                if had != 1:
                    self._referee.object(1, f"{run} was cancelled, and {handler} was called for it {had} times")
        if handled:
            self._referee.object(1, f"handlers were called of runs that were not cancelled: {handled}")

    def _about(self, run: str) -> RunStarted | RunEnded | EventDisposed:
        started, ended = self._referee.started.get(run), self._referee.ended.get(run)
        return started or (ended[1] if ended else self.never_began[run])

    def _cancelled(self, run: str) -> str | None:
        """Return why a run was cancelled, or None if it was not."""
        ended = self._referee.ended.get(run)
        if ended is not None:
            return ended[1].detail if ended[1].status == "cancelled" else None
        never = self.never_began.get(run)
        return None if never is None else never.detail

    def _cancels(self, function: SimFunction, run: str, event: Sent, created_at: int | None) -> bool:
        trigger = self._sendings.trigger(run)
        replay_id = getattr(self._about(run), "replay_id", None)
        return self._times.sees(replay_id, event.sender) and any(
            cancels(on, trigger, event)
            and (on.timeout is None or created_at is None or event.at <= created_at + on.timeout)
            for on in function.flow.cancel_on
        )
