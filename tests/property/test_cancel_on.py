"""Events that cancel runs, whatever happens in which order to lanes, partitions and runs, against what the log alone says: all that have to be, and no others."""

from collections import Counter
from typing import ClassVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize

from stream_engine.core.functions.flow import CancelOn, Flow
from stream_engine.core.functions.match import Wish, match
from stream_engine.core.partition.turn import Function
from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit
from tests.property.test_waits import CONDITIONS, PARTITIONS, VALUES, World

CANCEL_ON = st.builds(
    lambda name, by, if_, timeout: CancelOn(name, by, by, if_, " event." in if_, timeout),
    # Another trigger of the function cancels the run of an older one.
    st.sampled_from(["paid", "go", "*"]),
    st.sampled_from(["data.x", "data.x", ""]),
    st.sampled_from(list(CONDITIONS)),
    st.sampled_from([None, None, 0, 2, 100_000]),
)


class Cancelling(World):
    """The same, with runs that events cancel."""

    FUNCTIONS: ClassVar[tuple[Function, ...]] = (Function("f", ("1",), on_cancel="undo"), Function("undo", ("1",)))

    def __init__(self) -> None:
        super().__init__()
        self.cancel_on: tuple[CancelOn, ...] = ()

    @initialize(on=st.lists(CANCEL_ON, min_size=1, max_size=2), values=st.lists(VALUES, max_size=2))
    def begin(self, on: list[CancelOn], values: list[int]) -> None:
        """Declare what cancels, and have a run and events before lanes hear of anything."""
        self.cancel_on = tuple(on)
        super().begin(values)

    def admitted(self, event: Event, replay_id: str | None = None) -> Admit:
        wish = Wish("f", None, Flow(cancel_on=self.cancel_on), ())
        matched = match([wish], event, PARTITIONS, replay_id)
        return Admit(event, matched.functions, replay_id, tuple(matched.asked))

    def judge(self) -> None:
        super().judge()
        told = self.network.told
        started = {
            record.run_id: record for record in told if isinstance(record, RunStarted) and record.function == "f"
        }
        ended = {record.run_id: record for record in told if isinstance(record, RunEnded) and record.function == "f"}
        never = [record for record in told if isinstance(record, EventDisposed) and record.disposition == "cancelled"]
        gone = [run for run, record in ended.items() if record.status == "cancelled"]
        handled = Counter(
            record.of_run for record in told if isinstance(record, RunStarted) and record.function == "undo"
        )
        assert handled == Counter([*gone, *(record.run_id for record in never)]), "not one handler for each"
        events = [event for lane in self.lanes for event in lane.log]
        for run, begun in started.items():
            cancelling = [event for event in events if self.cancels(event, run, begun.created_at)]
            if run not in ended:
                assert not cancelling, f"{run} goes on, and had to be cancelled by {cancelling}"
            elif ended[run].detail.startswith("event "):
                details = [f"event {event.name} ({event.id})" for event in cancelling]
                assert ended[run].detail in details, f"{run} was cancelled by {ended[run].detail}, and not by {details}"

    def cancels(self, event: Event, run: str, created_at: int) -> bool:
        """Return whether an event cancels a run: one that fits, in time, and that is not its own trigger."""
        trigger = self.triggers[run]
        begun = created_at if self.replays[run] is None else trigger.timestamp
        data, own = msgspec.json.decode(event.data), msgspec.json.decode(trigger.data)
        return event.identity != trigger.identity and any(
            on.name in (event.name, "*")
            and (not on.path or data["x"] == own["x"])
            and (on.timeout is None or event.timestamp <= begun + on.timeout)
            and self.is_behind(event, run, on.if_)
            for on in self.cancel_on
        )


Cancelling.TestCase.settings = settings(deadline=None, stateful_step_count=60)
TestCancelOn = Cancelling.TestCase
