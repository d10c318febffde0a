"""Waiting until all workers of an app go by what an operator has written down."""

import time
from typing import Final

import msgspec

from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.control import Control
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating.group_offsets import member_names
from stream_engine.shell.pauses import FOLLOWED, Followed
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_FOLLOW_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05


def wait_for_workers(settings: Settings, names: Names, name: str, at: int) -> None:
    """Return once all workers of an app go by what was written at a time (milliseconds since the epoch) of a function, or of a replay by its key.

    Raises:
        UserError: one does not say so in time.
    """
    admin, deadline = clients.admin(settings), monotonic() + _FOLLOW_SECONDS
    consumer = clients.reader(settings)
    control = Control(consumer, names.control)
    try:
        while True:
            control.read_to_end()
            followed = control.values(FOLLOWED)
            members = member_names(admin, names.leader_group)
            behind = [one for one in members if _goes_by(followed.get(one)).get(name) != at]
            if not behind:
                break
            if monotonic() > deadline:
                raise UserError(
                    f"it is written down, but {len(behind)} of the {len(members)} workers of {names.app} have not said within "
                    f"{_FOLLOW_SECONDS:g} s that they go by it; look at their logs, and give the command again"
                )
            time.sleep(_LOOK_SECONDS)
    finally:
        consumer.close()
    _forget(settings, names, [member for member in followed if member not in members])


def _goes_by(raw: bytes | None) -> Followed:
    return {} if raw is None else msgspec.json.decode(raw, type=Followed)


def _forget(settings: Settings, names: Names, members: list[str]) -> None:
    """Delete what workers said that are gone."""
    producer = clients.producer(settings)
    for member in members:
        producer.produce(names.control, None, FOLLOWED + member, 0)
    producer.flush()
