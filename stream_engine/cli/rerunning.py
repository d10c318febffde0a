"""``stream-engine runs rerun``: a new run of the same event, with a link to the first one."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final, NamedTuple

import click

from stream_engine.cli.output import progress_of, reading_history, say
from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.records.history import RunStarted
from stream_engine.core.records.requests import Reused
from stream_engine.core.stages.reuse import reusable
from stream_engine.core.views.caused import Place
from stream_engine.core.views.reruns import Standing
from stream_engine.core.views.runs import ENDED, FoldedRun
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating.group_offsets import members
from stream_engine.shell.operating.log_events import LogEvents, OnLog
from stream_engine.shell.operating.rerunning import Again, Begun, CannotRerunError, Entries
from stream_engine.shell.published import Published
from stream_engine.shell.routing import reusing
from stream_engine.shell.routing.reusing import Recorded
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_NAMED: Final = 5


class Prepared(NamedTuple):
    """What begins runs again, and of the runs that cannot be run again, in words, why."""

    begun: list[Begun]
    refused: dict[str, str]

    def tell(self) -> None:
        """Say on stderr of each run that is passed over why it is."""
        for why in self.refused.values():
            say(f"passed over: {why}")


class _Looked(NamedTuple):
    """A run that is to run again: how it began, where its own event is and the others are that it had, and what steps it takes over."""

    run: FoldedRun
    started: RunStarted
    own: Place
    others: list[Place]
    steps: tuple[Reused, ...]


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

    def prepare(self, runs: Sequence[FoldedRun]) -> Prepared:
        """Return what begins runs again, after a look at each, before any is.

        Raises:
            UserError: Kafka does not answer.
        """
        refused: dict[str, str] = {run.run_id: why for run in runs if (why := self._objection(run)) is not None}
        left = [run for run in runs if run.run_id not in refused]
        if not left:
            return Prepared([], refused)
        with reading_history() as progress:
            functions = {run.run_id: run.function for run in left}
            recorded = reusing.of_runs(self._settings, self._app, functions, progress, self._catalogue.keeps_all)
        looked = []
        for run in left:
            with _refusing(run, refused):
                looked.append(self._look_at(run, recorded.get(run.run_id)))
        there = self._events([place for one in looked for place in (one.own, *one.others)])
        begun = []
        for one in looked:
            with _refusing(one.run, refused):
                begun.append(self._entries.again(self._with_events(one, there)))
        return Prepared(begun, refused)

    def tell_if_unserved(self) -> None:
        """Say on stderr that nothing begins for now, if that is so: history, by which reruns are known, hears of a run only from a worker.

        Raises:
            NoAnswerError: Kafka does not answer.
        """
        # The object is kept: a client that is let go ends while it is being asked.
        admin = clients.admin(self._settings)
        if not members(admin, self._names.leader_group):
            say(
                f"no worker serves {self._app} now: nothing begins before one is started, and the same command given again meanwhile "
                "would run the same runs once more"
            )

    def begin(self, begun: Sequence[Begun]) -> list[dict[str, str]]:
        """Have runs begin anew; return what is printed of them.

        Raises:
            UserError: Kafka did not take one.
        """
        with progress_of("sending") as progress:
            self._entries.send(begun, progress)
        entries = [one.entry for one in begun]
        return [{"run_id": entry.run_id, "rerun_of": entry.rerun_of, "function": entry.function} for entry in entries]

    def _objection(self, run: FoldedRun) -> str | None:
        """Return why a run cannot be run again, as far as the run itself and the code tell."""
        name = run.run_id
        if run.status not in ENDED:
            return f"run {name} has not ended: it is {run.status}, and there would be two of it; wait for it, or `stream-engine runs cancel {name}` first"
        if run.of_run is not None and ":" in run.function:
            return f"run {name} is that of a handler ({run.function}), and has no event; run {run.of_run} again, which it is about"
        if run.of_run is not None:
            return f"run {name} was invoked by a step of run {run.of_run}, and no event has triggered it; run that one again"
        spec = self._catalogue.functions.get(run.function)
        if spec is None:
            return f"{self._app} has no function {run.function!r} any more, so run {name} cannot run again"
        if self._version is not None and self._version not in spec.versions:
            known = ", ".join(spec.versions)
            return f"{run.function} has no version {self._version!r}, so run {name} cannot run on it; it has {known}"
        return None

    def _look_at(self, run: FoldedRun, recorded: Recorded | None) -> _Looked:
        name = run.run_id
        if recorded is None:
            raise CannotRerunError(f"run {name} has not begun, so there is nothing to run again")
        steps: tuple[Reused, ...] = ()
        if self._from_step is not None:
            try:
                steps = reusable(recorded.steps, self._from_step)
            except LookupError as error:
                known = ", ".join(dict.fromkeys(one.step_id for one in recorded.steps)) or "none"
                raise CannotRerunError(f"run {name} has no step {self._from_step!r}; it has {known}") from error
        started = recorded.started
        own = Place(started.topic, started.partition, started.offset)
        return _Looked(run, started, own, sorted(recorded.others - {own}), steps)

    def _events(self, places: Sequence[Place]) -> OnLog:
        if not places:
            return OnLog({}, {})
        with progress_of("reading events") as progress, closing(LogEvents(self._settings, self._catalogue)) as log:
            return log.at(places, progress)

    def _with_events(self, one: _Looked, there: OnLog) -> Again:
        for place in (one.own, *one.others):
            if place in there.missing:
                raise CannotRerunError(there.missing[place])
        others = tuple(there.events[place] for place in one.others)
        own = there.events[one.own]
        return Again(one.run.run_id, one.started, own, others, one.steps, self._version or "", self._new_keys)


@contextmanager
def _refusing(run: FoldedRun, refused: dict[str, str]) -> Iterator[None]:
    """Note why a run cannot be run again, and go on."""
    try:
        yield
    except CannotRerunError as error:
        named = run.run_id in str(error)
        refused[run.run_id] = str(error) if named else f"run {run.run_id}: {error}"


def of_those_passed_over(standing: Standing) -> Iterator[str]:
    """Give in words how many runs are not run again, because their events have other runs."""
    if standing.replaced:
        yield f"passed over: {len(standing.replaced)} runs of events that were run again since; the newest run of each stands for them"
    if standing.done:
        reruns = list(dict.fromkeys(run.run_id for run in standing.done.values()))
        named = ", ".join(reruns[:_NAMED]) + (", ..." if len(reruns) > _NAMED else "")
        yield f"passed over: {len(standing.done)} runs of events of which other runs are completed, or go on ({named})"


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
