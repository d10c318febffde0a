"""Runs as ``--json`` shows them: the shape that the contract writes down."""

from typing import Any

from msgspec import Raw
from msgspec.structs import asdict

from stream_engine.core.failure import Failure
from stream_engine.core.instants import iso
from stream_engine.core.views.runs import FoldedRun, RunStep


def document(run: FoldedRun) -> dict[str, Any]:
    """Return a run as ``--json`` shows it: times in ISO 8601; `msgspec.json` encodes it."""
    return {
        "run_id": run.run_id,
        "function": run.function,
        "version": run.version or None,
        "status": run.status,
        "event_id": run.event_id,
        "event_name": run.event_name,
        "key": run.key,
        "replay_id": run.replay_id,
        "created_at": _iso_or_none(run.created_at),
        "started_at": _iso_or_none(run.started_at),
        "ended_at": _iso_or_none(run.ended_at),
        "attempt": run.attempt,
        "result": _value(run.result),
        "error": _error(run.error),
        "waiting_on": run.waiting_on,
        "steps": [_step_document(step) for step in run.ordered_steps()],
        **({} if run.rerun_of is None else {"rerun_of": run.rerun_of}),
    }


def _step_document(step: RunStep) -> dict[str, Any]:
    last = step.last
    return {
        "id": step.id,
        "kind": step.kind,
        "status": last.status,
        "attempt": last.number,
        "started_at": iso(step.started_at),
        "ended_at": iso(last.ended_at) if step.settled and last.ended_at is not None else None,
        "result": _value(step.result),
        "error": _error(last.error),
    }


def _iso_or_none(at: int | None) -> str | None:
    return None if at is None else iso(at)


def _value(result: str | None) -> Raw | None:
    """The text itself: reading and writing it again could change a number."""
    return None if result is None else Raw(result.encode())


def _error(error: Failure | None) -> dict[str, str] | None:
    return None if error is None else asdict(error)
