"""A real broker for every test that asks for one, private to the run, and what all property tests go by."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import pytest

from stream_engine.shell import localbroker
from stream_engine.shell.localbroker import kraft
from stream_engine.shell.settings import Settings

TEST_BOOTSTRAP_SERVERS = "STREAM_ENGINE_TEST_BOOTSTRAP_SERVERS"
_SHARED = pytest.StashKey[Path]()
_PATH = "broker"
_CHAOS = Path(__file__).parent / "chaos"

# How long an example takes says how busy the machine is, and nothing of the code. The examples are the same each time, so that a change
# is never refused for what was there before it; `--hypothesis-profile=explore` draws others.
_PATIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("same", derandomize=True, **_PATIENT)
hypothesis.settings.register_profile("explore", max_examples=2_000, print_blob=True, **_PATIENT)
hypothesis.settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for the broker is marked so, and can be left out by ``-m "not broker"``.

    Chaos comes last: it is about an engine under load, and beside the simulation it would be about a machine that has no time for anything.
    """
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.broker)
    items.sort(key=lambda item: item.path.parent == _CHAOS)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each process of pytest-xdist the folder of the broker that all of them have."""
    stash = node.config.stash
    if _SHARED not in stash:
        stash[_SHARED] = Path(tempfile.mkdtemp(prefix="stream-engine-tests-broker-"))
    node.workerinput[_PATH] = str(stash[_SHARED])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the broker of all processes, after the last of them."""
    folder = config.stash.get(_SHARED, None)
    if folder is not None:
        localbroker.stop(Settings(state_dir=folder))
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings with a broker that serves: `STREAM_ENGINE_TEST_BOOTSTRAP_SERVERS`, or one that this run of the tests starts.

    The processes of pytest-xdist share it: the first that needs it starts it, and the others wait for it.
    """
    settings = Settings(state_dir=tmp_path_factory.mktemp("broker-state"))
    shared = getattr(request.config, "workerinput", {}).get(_PATH)
    if given := os.environ.get(TEST_BOOTSTRAP_SERVERS):
        yield replace(settings, bootstrap_servers=given)
    elif shared is not None:
        yield replace(settings, bootstrap_servers=_start(Settings(state_dir=Path(shared))))
    else:
        try:
            yield replace(settings, bootstrap_servers=_start(settings))
        finally:
            localbroker.stop(settings)


def _start(settings: Settings) -> str | None:
    # A machine that is full of tests may keep a broker waiting for longer than the 9 s after which it is taken for dead, by nobody but itself.
    with mock.patch.dict(kraft.BROKER_PROPERTIES, {"broker.session.timeout.ms": "120000"}):
        localbroker.start(settings, port=0)
    return localbroker.connected(settings).bootstrap_servers
