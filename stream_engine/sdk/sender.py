"""What messages say of the run that sends them: people read which it was, and replays whether they run it anew."""

from stream_engine.core.records.journal import Event
from stream_engine.core.records.tables import Run
from stream_engine.core.routing.cause import Cause, cause_header
from stream_engine.core.routing.receive import SENDER_HEADER
from stream_engine.sdk.scope import Outside, SentBy


class OfRun(Outside):
    """Base of what the code of a run is part of."""

    __slots__ = ("event", "run", "run_id")

    def __init__(self, run_id: str, run: Run, event: Event) -> None:
        self.run_id = run_id
        self.run = run
        self.event = event

    def sent_by(self) -> SentBy:
        """Return what messages say of the run."""
        run, event = self.run, self.event
        about = (run.function, event.topic, event.partition, event.offset)
        if run.caller is not None and run.caller.function:
            # A replay does not know the event of this run: it runs that one again which led to it.
            about = (run.caller.function, run.caller.topic_of, run.caller.partition, run.caller.offset)
        cause = Cause(*about, run.replay_id, run.moment)
        return SentBy(((SENDER_HEADER, self.run_id.encode()), cause_header(cause)), run.replay_id)
