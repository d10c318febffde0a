"""The pytest plugin: fixtures that come with the package."""

from collections.abc import Iterator

import pytest

from stream_engine.sdk.engine import Engine
from stream_engine.testing.kit import Kit


@pytest.fixture
def stream_engine_app() -> Engine | None:
    """The app that `stream_engine` serves; override it to return yours, or call ``stream_engine.use`` in the test."""
    return None


@pytest.fixture
def stream_engine(stream_engine_app: Engine | None) -> Iterator[Kit]:
    """A worker of an app in memory: ``send``, ``complete``, ``advance``, ``runs``."""
    kit = Kit()
    try:
        if stream_engine_app is not None:
            kit.use(stream_engine_app)
        yield kit
    finally:
        kit.close()
