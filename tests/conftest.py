"""A real broker for every test that asks for one: one for the whole session, private to it."""

from __future__ import annotations

import os
from collections.abc import Iterator

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
