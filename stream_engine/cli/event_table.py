"""What became of an event, as lines: a heading for each of its places on the log, and under it each function."""

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from stream_engine.core.instants import iso
from stream_engine.core.views.explained import EventStory, Outcome
from stream_engine.core.views.runs import until_text

_STYLES = {"started": "green", "queued": "cyan", "delayed": "cyan", "dead-lettered": "red"}

_WITHOUT_RUN = frozenset({"coalesced", "rate-limited", "skipped", "paused", "dead-lettered"})
"""Of these, history has the id of the run that there would have been."""

_PASSED_OVER = "by a forward move of the offsets of the group that routes, which a worker found"


def lines(story: EventStory) -> Iterator[Text]:
    """Give the lines of a story."""
    for place, name, outcomes in story:
        yield Text.assemble((f"event {name}".rstrip(), "bold"), f"  {place}")
        passed_over = story.passed_over(place)
        if passed_over is not None:
            yield Text.assemble("  ", ("passed over", "yellow"), f"  {_PASSED_OVER}, at {iso(passed_over)}")
        widths = [max((len(cells[column]) for cells in map(_cells, outcomes)), default=0) for column in range(2)]
        for outcome in outcomes:
            function, disposition, about = _cells(outcome)
            style = _STYLES.get(outcome.disposition, "yellow")
            yield Text.assemble(f"  {function:<{widths[0]}}  ", (f"{disposition:<{widths[1]}}", style), f"  {about}")


def document(story: EventStory) -> list[dict[str, Any]]:
    """Return a story as ``--json`` shows it: an object for each place, with what became of the event for each function."""
    return [
        {
            **place._asdict(),
            "event_name": name or None,
            "functions": [_outcome(outcome) for outcome in outcomes],
            "passed_over_at": None if (at := story.passed_over(place)) is None else iso(at),
        }
        for place, name, outcomes in story
    ]


def _cells(outcome: Outcome) -> tuple[str, str, str]:
    gate = f"{outcome.gate} of {outcome.gate_key}" if outcome.gate_key else outcome.gate
    until = until_text(outcome.gate, outcome.earliest)
    delayed = outcome.disposition == "delayed"
    detail = f"until {iso(int(outcome.detail))}" if delayed else outcome.detail
    replayed = "" if outcome.replay_id is None else f"replay {outcome.replay_id}"
    run = f"run {outcome.run_id}" if outcome.run_id and outcome.disposition not in _WITHOUT_RUN else ""
    about = [text for text in (gate, until, detail, run, replayed, f"at {iso(outcome.at)}") if text]
    return outcome.function, outcome.disposition, ", ".join(about)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "function": outcome.function,
        "disposition": outcome.disposition,
        "at": iso(outcome.at),
        "run_id": (outcome.run_id or None) if outcome.disposition not in _WITHOUT_RUN else None,
        "replay_id": outcome.replay_id,
        "gate": outcome.gate or None,
        "gate_key": outcome.gate_key or None,
        "earliest": None if outcome.earliest is None else iso(outcome.earliest),
        "detail": outcome.detail or None,
    }
