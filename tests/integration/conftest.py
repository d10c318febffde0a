"""What an integration test has to itself on the session's broker."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from stream_engine.shell.settings import Settings


@pytest.fixture
def app_name(request: pytest.FixtureRequest) -> str:
    """A name for an app that no other test uses: its topics, groups and stores are this test's alone."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    return f"{test}-{uuid4().hex[:8]}"


@pytest.fixture
def settings(broker: Settings, tmp_path: Path) -> Settings:
    """The session's broker, with a state folder of the test's own."""
    return replace(broker, state_dir=tmp_path / "state")
