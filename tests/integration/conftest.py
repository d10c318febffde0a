"""A real broker for every integration test: one for the whole session, private to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from stream_engine.shell import localbroker
from stream_engine.shell.settings import Settings

TEST_BOOTSTRAP_SERVERS = "STREAM_ENGINE_TEST_BOOTSTRAP_SERVERS"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for the broker is marked so, and can be left out by ``-m "not broker"``."""
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.broker)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings with a broker that serves: `STREAM_ENGINE_TEST_BOOTSTRAP_SERVERS`, or one of the session's own.

    Under pytest-xdist each of its processes is a session.
    """
    settings = Settings(state_dir=tmp_path_factory.mktemp("broker-state"))
    if given := os.environ.get(TEST_BOOTSTRAP_SERVERS):
        yield Settings(state_dir=settings.state_dir, bootstrap_servers=given)
        return
    localbroker.start(settings, port=0)
    try:
        yield localbroker.connected(settings)
    finally:
        localbroker.stop(settings)


@pytest.fixture
def app_name(request: pytest.FixtureRequest) -> str:
    """A name for an app that no other test uses: its topics, groups and stores are this test's alone."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    return f"{test}-{uuid4().hex[:8]}"


@pytest.fixture
def settings(broker: Settings, tmp_path: Path) -> Settings:
    """The session's broker, with a state folder of the test's own."""
    return replace(broker, state_dir=tmp_path / "state")
