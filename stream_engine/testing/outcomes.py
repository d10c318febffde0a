"""What history tells of runs in memory, and of those that there will not be."""

from stream_engine.core.records.history import HistoryRecord
from stream_engine.core.views.answers import Answers
from stream_engine.core.views.runs import RunIndex
from stream_engine.sdk.transport import Outcome


class Outcomes(RunIndex):
    """The runs of an app, and what their handles are told."""

    def __init__(self, app: str, events_topic: str) -> None:
        super().__init__()
        self.answers = Answers(app, events_topic)

    def add(self, record_id: str, record: HistoryRecord) -> None:
        """Take a record of the history and the id that names it."""
        super().add(record_id, record)
        self.answers.add(record)

    def outcome(self, run_id: str) -> Outcome:
        """Return what is known of a run."""
        return Outcome.of(self.answers.get(run_id) or self.get(run_id))
