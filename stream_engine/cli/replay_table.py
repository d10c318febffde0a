"""Replays and rewinds as ``stream-engine replay`` prints them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from stream_engine.cli.output import print_json, say
from stream_engine.core.instants import iso
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.replay import COMPLETED, PER_SECOND, Counts, Replay, status
from stream_engine.core.routing.rewound import Stretch
from stream_engine.shell.operating.replay_states import Seen

_SHOWN: Final = 20

Stretches = Mapping[str, Sequence[Stretch]]
"""What rewinds route again, by their ids."""


def show(found: Sequence[Seen], rewound: Stretches, *, as_json: bool, one: bool = False) -> None:
    """Print replays, or the only ``one``; of a rewind, its partitions too."""
    documents = [_document(seen, rewound.get(seen.replay.id)) for seen in found]
    if as_json:
        print_json(documents[0] if one else documents)
        return
    for row in documents:
        click.echo(
            f"{row['id']}  {row['status']:<9}  {row['function'] or 'a rewind'}  {row['from'] or 'expired'} to {row['to']}  "
            f"{row['routed']} of {row['events']} events, {row['ended']} of {row['runs']} runs ended, {row['failed']} failed"
            + _became(row["dispositions"])
            + (
                f"; {row['expired']} events had expired before it came to them, and were not run"
                if row["expired"]
                else ""
            )
            + (f"; it waits for {row['waiting_on']}" if row["waiting_on"] else "")
        )
        for part in (row["partitions"] or ()) if one else ():
            place = f"{part['topic']}/{part['partition']}"
            click.echo(f"  {place}: {part['from']} to {part['to']}, routed to {part['routed']}")


def preview(made: Replay, chosen: Sequence[Event], *, as_json: bool) -> None:
    """Print what a replay would run."""
    seconds = -(-len(chosen) // (made.per_second or PER_SECOND))
    if as_json:
        listed = [
            {"id": one.id, "name": one.name, "partition": one.partition, "offset": one.offset, "at": iso(one.timestamp)}
            for one in chosen
        ]
        document = _document(Seen(made, Counts(0, 0, 0, 0), None), None) | {"id": None, "status": "dry run"}
        print_json(document | {"at_least_seconds": seconds, "listed": listed})
        return
    for one in chosen[:_SHOWN]:
        click.echo(f"{iso(one.timestamp)}  {one.name}  {one.id}")
    if len(chosen) > _SHOWN:
        say(f"... and {len(chosen) - _SHOWN} more")
    say(f"{len(chosen)} events of {made.function}, in {seconds} s at least; nothing is started")


def _document(seen: Seen, partitions: Sequence[Stretch] | None) -> dict[str, Any]:
    """Return a replay as it is printed; a rewind, which is of all functions, with the ``partitions`` that were reset."""
    made, counts, waiting_on = seen
    return {
        "id": made.id,
        "function": made.function or None,
        "from": iso(made.since) if made.since else None,
        "to": iso(made.until),
        "status": status(made),
        "events": made.events,
        "routed": counts.routed,
        "runs": counts.runs,
        "ended": counts.ended,
        "failed": counts.failed,
        "paused": counts.dispositions.get("paused", 0),
        "dead_lettered": counts.dispositions.get("dead-lettered", 0),
        "dispositions": counts.dispositions,
        # What a rewind would need and has expired, no worker routes.
        "expired": made.expired if made.function and made.state == COMPLETED else None,
        "waiting_on": waiting_on,
        "partitions": None if partitions is None else [_part(one) for one in partitions],
    }


def _became(dispositions: Mapping[str, int]) -> str:
    """Return in words what became of the events, where they have not all just begun a run."""
    if not dispositions.keys() - {"started"}:
        return ""
    return f"; what became of the events: {', '.join(f'{count} {what}' for what, count in dispositions.items())}"


def _part(one: Stretch) -> dict[str, Any]:
    return {"topic": one.topic, "partition": one.partition, "from": one.start, "to": one.stop, "routed": one.at}
