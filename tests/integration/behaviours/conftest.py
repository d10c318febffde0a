"""One worker for all tests of this folder, and its app in this process to send with."""

import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import pytest

from stream_engine.shell.settings import Settings
from tests.integration.behaviours.deploys import Deploys
from tests.integration.behaviours.served import GREET, Here
from tests.raw import create_topic
from tests.workers import Workers

APP = Path(__file__).with_name("app.py")
_EVENT_PARTITIONS = 3
_PARTITIONS = 4


@pytest.fixture(scope="session")
def served(broker: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """The app, served. Its events topic has fewer partitions than the engine's own, as a user's may."""
    folder = tmp_path_factory.mktemp("behaviours")
    settings = replace(broker, state_dir=folder / "state", partitions=_PARTITIONS)
    name = f"behaviours-{uuid4().hex[:8]}"
    create_topic(str(settings.bootstrap_servers), f"{name}.events", _EVENT_PARTITIONS)
    env = {"BEHAVIOURS_APP": name, "BEHAVIOURS_GATES": str(folder), "STREAM_ENGINE_SCHEMAS": str(folder)}
    (folder / "7.avsc").write_text(json.dumps(GREET))
    with pytest.MonkeyPatch.context() as patch, Workers(f"{APP}:engine", settings, env) as workers:
        for variable, value in {**env, "STREAM_ENGINE_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers)}.items():
            patch.setenv(variable, value)
        worker = workers.start()
        app = load(APP)
        worker.ready()
        with Here(settings, app, worker, folder) as here:
            yield here
        assert worker.alive, worker.talk
        assert worker.stop() == 0, worker.talk


@pytest.fixture
def deploys(request: pytest.FixtureRequest, broker: Settings, tmp_path: Path) -> Iterator[Deploys]:
    """An app of the test's own; its code is in the file that the test names as the fixture's parameter, or in ``app.py``."""
    with Deploys(broker, tmp_path, getattr(request, "param", APP.name)) as made:
        yield made


def load(path: Path) -> ModuleType:
    """Import a file as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"behaviours_{os.urandom(4).hex()}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
