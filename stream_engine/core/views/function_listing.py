"""The functions of an app as listings show them: what the catalogue in force says of them, and what the run index counts."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from stream_engine.core.functions.catalogue import Catalogue, FunctionSpec, cron_event, start_event
from stream_engine.core.functions.flow import Flow
from stream_engine.core.views.insights import Shown, Summary

_BEGUN: Final = ("running", "sleeping", "waiting")


class FunctionRow(msgspec.Struct, frozen=True):
    """A function; ``running`` are its runs that have begun and not ended, also those that sleep or wait, ``queued`` those to begin.

    ``figures`` are by version, of live runs and of replayed ones; None where nothing counts them.
    """

    id: str
    version: str
    triggers: list[str]
    options: dict[str, Any]
    paused: bool
    running: int
    queued: int
    figures: list[Shown] | None = None


def rows(
    catalogue: Catalogue, counts: Mapping[tuple[str, str], int], paused: Collection[str] = ()
) -> list[FunctionRow]:
    """Return the functions in force, by their ids; ``counts`` has the number of runs by function and status."""
    return [_row(catalogue.functions[name], counts, is_paused=name in paused) for name in sorted(catalogue.functions)]


def unended(counts: Mapping[tuple[str, str], int], function: str) -> tuple[int, int]:
    """Return how many runs of a function have begun and not ended, and how many are still to begin, those of its handlers included."""

    def count(*statuses: str) -> int:
        mine = (key for key in counts if key[0].partition(":")[0] == function and key[1] in statuses)
        return sum(counts[key] for key in mine)

    return count(*_BEGUN), count("queued")


def with_figures(found: list[FunctionRow], figures: list[Summary]) -> list[FunctionRow]:
    """Return the rows with the figures of their versions."""
    return [
        msgspec.structs.replace(row, figures=[Shown.of(summary) for summary in figures if summary.function == row.id])
        for row in found
    ]


def _row(spec: FunctionSpec, counts: Mapping[tuple[str, str], int], *, is_paused: bool) -> FunctionRow:
    def count(*statuses: str) -> int:
        return sum(counts.get((spec.id, status), 0) for status in statuses)

    return FunctionRow(
        id=spec.id,
        version=spec.versions[0],
        triggers=_triggers(spec),
        options=_options(spec.flow),
        paused=is_paused,
        running=count(*_BEGUN),
        queued=count("queued"),
    )


def _triggers(spec: FunctionSpec) -> list[str]:
    """Return what its author wrote: not the events by which the engine itself starts it."""
    own = {start_event(spec.id), cron_event(spec.id)}
    crons = (f"cron {cron.expression}" + (f" {cron.tz}" if cron.tz != "UTC" else "") for cron in spec.crons)
    return [*(trigger for trigger in spec.triggers if trigger not in own), *crons]


def _options(flow: Flow) -> dict[str, Any]:
    options = msgspec.to_builtins(flow)
    assert isinstance(options, dict)
    return options
