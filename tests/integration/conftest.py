"""What an integration test has to itself on the session's broker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from stream_engine.shell.settings import Settings
from tests.raw import forget


@pytest.fixture
def app_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for an app that no other test uses: its topics, groups and stores are this test's alone."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    name = f"{test}-{uuid4().hex[:8]}"
    servers = request.getfixturevalue("broker").bootstrap_servers if "broker" in request.fixturenames else None
    yield name
    if servers is not None:
        forget(servers, name)


@pytest.fixture
def settings(broker: Settings, tmp_path: Path) -> Settings:
    """The session's broker, with a state folder of the test's own."""
    return replace(broker, state_dir=tmp_path / "state")
