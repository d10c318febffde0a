"""A key whose runs take long keeps nothing from the others, whichever common limits there are besides."""

from typing import Any

import pytest

from stream_engine import Concurrency, Context, Engine, Event, Throttle
from stream_engine.testing import Kit

KEYED = Concurrency(1, key="event.data.key")


@pytest.mark.parametrize("busy", ["K1", "K2", "K3", "K4", "K5"])
@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": [Concurrency(3), KEYED]},
        {"concurrency": [Concurrency(3, pool="api"), KEYED]},
        {"concurrency": KEYED, "throttle": Throttle(3, per="1s")},
        {"concurrency": [Concurrency(3), KEYED], "throttle": Throttle(3, per="1s")},
    ],
    ids=["a limit for all", "a pool", "a throttle", "both"],
)
def test_another_key_begins_at_once(stream_engine: Kit, options: dict[str, Any], busy: str) -> None:
    engine = Engine("shop")

    @engine.function("slow", on="go", **options)
    async def slow(ctx: Context) -> None:
        await ctx.step.sleep("an hour", "1h")

    stream_engine.use(engine)
    for key in (busy, busy, busy, busy, "other"):
        stream_engine.send(Event("go", {"key": key}))
    stream_engine.advance("5s")
    assert sorted(run.status for run in stream_engine.runs()) == ["queued"] * 3 + ["sleeping"] * 2
