"""Events that an operator passed over, by moving the group that routes forward: what the workers that found so have written down."""

import contextlib

import msgspec

from stream_engine.core.views.caused import Place
from stream_engine.shell import clients, topics
from stream_engine.shell.published import Published
from stream_engine.shell.routing.bearings import SKIP, Skip
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, TopicError


def passed_over(settings: Settings, app: str, place: Place) -> int | None:
    """Return when a worker of an app found that a place was passed over (milliseconds since the epoch), the last time; None if none has.

    Raises:
        UserError: the control topic cannot be read.
    """
    skips = Published(settings, Names.of(app).control).control.values(SKIP)
    own: dict[str, bytes] = {}
    if skips:
        # A topic that was created again under the name has other events at its places.
        with contextlib.suppress(TopicError):
            here = f"{topics.topic_id(clients.admin(settings), place.topic)}/{place.partition}/"
            own = {key: raw for key, raw in skips.items() if key.startswith(here)}
    found = [msgspec.json.decode(raw, type=Skip) for raw in own.values()]
    return max((one.at for one in found if one.start <= place.offset < one.stop), default=None)
