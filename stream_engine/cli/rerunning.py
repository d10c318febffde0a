"""``stream-engine runs rerun``: a new run of the same event, with a link to the first one."""

from collections.abc import Sequence

import click

from stream_engine.cli.output import progress_of, reading_history
from stream_engine.core.catalogue import Catalogue
from stream_engine.core.requests import Entry, Reused
from stream_engine.core.reuse import reusable
from stream_engine.core.runs import FoldedRun
from stream_engine.shell import reusing
from stream_engine.shell.clock import now_ms
from stream_engine.shell.errors import UserError
from stream_engine.shell.published import Published
from stream_engine.shell.rerunning import Again, Entries, Events
from stream_engine.shell.reusing import Recorded
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names


class Reruns:
    """Has runs of one app run again, all in the same way."""

    def __init__(
        self, settings: Settings, app: str, from_step: str | None, version: str | None, *, new_keys: bool
    ) -> None:
        """Look at which functions there are.

        Raises:
            UserError: no worker has published any.
        """
        self._settings = settings
        self._app = app
        self._from_step = from_step
        self._version = version
        self._new_keys = new_keys
        catalogue = Published(settings, Names.of(app).control).catalogue()
        if catalogue is None:
            raise UserError(f"no worker of {app} has published its functions; start one first")
        self._catalogue: Catalogue = catalogue
        self._names = Names.of(app, catalogue.events)
        self._entries = Entries(settings, self._names, catalogue, now_ms())

    def prepare(self, runs: Sequence[FoldedRun]) -> list[Entry]:
        """Return what begins runs again, after a look at each, before any is.

        Raises:
            UserError: one cannot be run again.
        """
        for run in runs:
            self._check(run)
        with reading_history() as progress:
            recorded = reusing.of_runs(self._settings, self._app, {run.run_id for run in runs}, progress)
        events = Events(self._settings, self._catalogue)
        try:
            with progress_of("reading events") as progress:
                entries = []
                for number, run in enumerate(runs):
                    progress(number, len(runs))
                    entries.append(self._entries.again(self._look_at(run, recorded.get(run.run_id), events)))
                return entries
        finally:
            events.close()

    def begin(self, entries: Sequence[Entry]) -> list[dict[str, str]]:
        """Have runs begin anew; return what is printed of them.

        Raises:
            UserError: Kafka did not take one.
        """
        with progress_of("sending") as progress:
            self._entries.send(entries, progress)
        return [{"run_id": entry.run_id, "rerun_of": entry.rerun_of, "function": entry.function} for entry in entries]

    def _check(self, run: FoldedRun) -> None:
        name = run.run_id
        if run.of_run is not None:
            raise UserError(
                f"run {name} is that of a handler, and has no event; run {run.of_run} again, which it is about"
            )
        spec = self._catalogue.functions.get(run.function)
        if spec is None:
            raise UserError(f"{self._app} has no function {run.function!r} any more, so run {name} cannot run again")
        if self._version is not None and self._version not in spec.versions:
            raise UserError(f"{run.function} has no version {self._version!r}; it has {', '.join(spec.versions)}")

    def _look_at(self, run: FoldedRun, recorded: Recorded | None, events: Events) -> Again:
        name = run.run_id
        if recorded is None:
            raise UserError(f"run {name} has not begun, so there is nothing to run again")
        steps: tuple[Reused, ...] = ()
        if self._from_step is not None:
            try:
                steps = reusable(recorded.steps, self._from_step)
            except LookupError as error:
                known = ", ".join(dict.fromkeys(one.step_id for one in recorded.steps)) or "none"
                raise UserError(f"run {name} has no step {self._from_step!r}; it has {known}") from error
        event = events.of(recorded.started)
        return Again(name, recorded.started, event, steps, self._version or "", self._new_keys)


def confirmed(count: int, *, yes: bool, asks: bool) -> None:
    """Ask on a terminal before many runs are run again.

    Raises:
        UserError: nobody can be asked.
    """
    if yes or not count:
        return
    if not asks:
        raise UserError(f"nothing is run again yet: add --yes to run these {count} runs again")
    click.confirm(f"run these {count} runs again?", abort=True, err=True)
