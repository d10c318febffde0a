"""Calls in threads whose callers are gone."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stream_engine.sdk.threads import Thread, call_in_thread


def test_a_coroutine_that_nobody_awaits_any_more_is_closed() -> None:
    asyncio.run(_call_and_leave())


async def _call_and_leave() -> None:
    go_on, made = threading.Event(), list[Coroutine[Any, Any, None]]()
    threads = list[Thread]()

    def late() -> Coroutine[Any, Any, None]:
        go_on.wait()
        made.append(asyncio.sleep(0))
        return made[0]

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call_in_thread(pool, threads.append, late, (), {}), 0.01)
        go_on.set()
    # What was closed cannot be awaited.
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await made[0]
