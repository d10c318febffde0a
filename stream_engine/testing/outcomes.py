"""What history tells of runs in memory, and of those that there will not be."""

from stream_engine.core.records.history import HistoryRecord
from stream_engine.core.views.caused import of_another
from stream_engine.core.views.runs import RunIndex
from stream_engine.sdk.transport import Outcome


class Outcomes(RunIndex):
    """The runs of an app, and what their handles are told."""

    def __init__(self, app: str) -> None:
        super().__init__()
        self._app = app
        self._without: dict[str, Outcome] = {}

    def add(self, record_id: str, record: HistoryRecord) -> None:
        """Take a record of the history and the id that names it."""
        super().add(record_id, record)
        taken = of_another(self._app, record)
        if taken is not None:
            self._without[taken[0]] = Outcome("cancelled", detail=taken[1])

    def outcome(self, run_id: str) -> Outcome:
        """Return what is known of a run."""
        run = self.get(run_id)
        if run is None:
            return self._without.get(run_id.rpartition("-")[0], Outcome("queued"))
        return Outcome(run.status, None if run.result is None else run.result.encode(), run.error, run.detail)
