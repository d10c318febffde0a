"""A campaign for a test: an app of its own on the session's broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_engine.shell.settings import Settings
from tests.chaos.campaign import Campaign


@pytest.fixture
def campaign(broker: Settings, tmp_path: Path) -> Iterator[Campaign]:
    """An app under load, whose workers are killed at the end of the test."""
    with Campaign(broker, tmp_path / "campaign", seed=1, per_second=40.0) as made:
        yield made
