"""The app that a command about replays is about."""

from functools import cached_property
from typing import Final

import click

from stream_engine.cli.apps import resolve_app_name
from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.routing.replay import Replay
from stream_engine.shell import clients, topics
from stream_engine.shell.control import Control
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating import replaying
from stream_engine.shell.operating.replay_states import Seen, States
from stream_engine.shell.operating.rewinds import Rewinds
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

APP: Final = click.option(
    "--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is."
)
JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class ReplayApp:
    """The app that a command is about, with its control topic read."""

    def __init__(self, app: str | None) -> None:
        self.settings = connected(Settings.from_env())
        self.app = resolve_app_name(app, self.settings)
        published = Published(self.settings, Names.of(self.app).control)
        self.catalogue: Catalogue | None = published.catalogue()
        self.control: Control = published.control
        self.names = Names.of(self.app, None if self.catalogue is None else self.catalogue.events)

    @cached_property
    def topics(self) -> list[str]:
        """The topics with events, the app's own first."""
        return [self.names.events, *(() if self.catalogue is None else self.catalogue.sources)]

    @cached_property
    def rewinds(self) -> Rewinds:
        """What operators have rewound by the offsets of the router's group."""
        admin = clients.admin(self.settings)
        there = topics.partition_counts(admin)
        return Rewinds(
            self.settings, self.control, {topics.topic_id(admin, one): one for one in self.topics if one in there}
        )

    def replays(self) -> list[Replay]:
        """Return all replays and rewinds that are known, the newest first."""
        found = [*replaying.replays(self.control), *self.rewinds.replays()]
        return sorted(found, key=lambda one: one.created_at, reverse=True)

    def replay(self, name: str) -> Replay:
        """Return a replay, or a rewind, by its id."""
        for one in self.replays():
            if one.id == name:
                return one
        raise UserError(f"{self.app} has no replay {name!r}; `stream-engine replay list` shows them")

    def seen(self, *replays: Replay) -> list[Seen]:
        """Return how far replays are."""
        return States(self.settings, self.names, self.topics, self.control, self.rewinds).of(replays)
