"""How much of the users' code is in progress at a time: slots on their own, and as the executor uses them."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest

from stream_engine import Context, Engine, SyncContext
from stream_engine.core.stages.commands import FailStep, LendRun, Suspend
from stream_engine.sdk.execution import Executor
from stream_engine.sdk.slots import Capacity, Slots
from tests.scripted import RUN, ScriptedTerm, settle, until

T = TypeVar("T")


def run(script: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(script)


def app(body: Any) -> Engine:
    engine = Engine("app")
    engine.function("f")(body)
    return engine


def test_whoever_waits_gets_a_slot_in_turn_among_functions_and_in_order_within_one() -> None:
    got: list[str] = []

    async def ask(slots: Slots, name: str) -> None:
        await slots.take(name[0])
        got.append(name)

    async def script() -> None:
        slots = Slots(1)
        assert slots.take_now("a")
        tasks = [asyncio.create_task(ask(slots, name)) for name in ("a1", "a2", "b1", "a3", "b2")]
        await settle()
        assert got == []
        for number in range(1, 6):
            slots.give("a" if number == 1 else got[-1][0])
            assert not slots.take_now("c"), "the next has been given it already"
            await settle()
            assert len(got) == number
        await asyncio.gather(*tasks)

    run(script())
    assert got == ["a1", "b1", "a2", "b2", "a3"]


def test_nobody_goes_before_those_of_the_same_function_who_wait() -> None:
    async def script() -> None:
        slots = Slots(17)
        for _ in range(16):
            assert slots.take_now("a")
        waiting = asyncio.create_task(slots.take("a"))
        await settle()
        assert not waiting.done()
        assert slots.take_now("b")
        slots.give("a")
        assert not slots.take_now("a")
        await waiting

    run(script())


@pytest.mark.parametrize("given", [False, True])
def test_whoever_gives_up_waiting_keeps_no_slot(given: bool) -> None:
    async def script() -> None:
        slots = Slots(1)
        assert slots.take_now("a")
        waiting = asyncio.create_task(slots.take("a"))
        await settle()
        if given:
            slots.give("a")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        if not given:
            slots.give("a")
        assert slots.take_now("b")

    run(script())


def test_with_an_outer_limit_both_are_taken_and_given_back() -> None:
    async def script() -> None:
        outer = Slots(2)
        inner = Slots(1, outer)
        assert inner.take_now("a")
        assert outer.take_now("a")
        inner.give("a")
        assert outer.take_now("a")
        assert not inner.take_now("a"), "there is no outer one"
        waiting = asyncio.create_task(inner.take("a"))
        await settle()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        outer.give("a")
        assert inner.take_now("a"), "who gave up has given back the inner one"

    run(script())


def test_a_slot_is_kept_while_its_thread_goes_on() -> None:
    async def script() -> None:
        slots = Slots(1)
        thread: Future[Any] = Future()
        assert slots.take_now("a")
        slots.give("a", thread)
        assert not slots.take_now("a")
        thread.set_result(None)
        await until(lambda: slots.take_now("a"))

    run(script())


class Gate:
    """Bodies that run until they are let go, and how many did at a time."""

    def __init__(self) -> None:
        self.begun = 0
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self.opened = threading.Event()

    def body(self) -> None:
        with self._lock:
            self.begun += 1
            self._now += 1
            self.most = max(self.most, self._now)
        assert self.opened.wait(10)
        with self._lock:
            self._now -= 1

    async def async_body(self) -> None:
        await asyncio.to_thread(self.body)


@pytest.mark.parametrize(
    ("kind", "capacity"),
    [("async", Capacity(steps=2)), ("def", Capacity(steps=2)), ("def", Capacity(threads=2))],
)
def test_no_more_bodies_are_in_progress_than_there_are_slots(kind: str, capacity: Capacity) -> None:
    gate = Gate()

    async def f(ctx: Context) -> None:
        body: Any = gate.async_body if kind == "async" else gate.body
        await asyncio.gather(*(ctx.step.run("a", body) for _ in range(5)))

    async def script() -> None:
        async with Executor(app(f), capacity=capacity) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: gate.begun == 2)
            await settle()
            assert gate.begun == 2
            gate.opened.set()
            await until(lambda: len(term.waiting()) == 5)

    run(script())
    assert gate.most == 2


def test_a_step_that_waited_for_its_turn_does_not_begin_without_the_lease() -> None:
    gate = Gate()

    async def f(ctx: Context) -> None:
        await asyncio.gather(*(ctx.step.run("a", gate.body) for _ in range(2)))

    async def script() -> None:
        async with Executor(app(f), capacity=Capacity(threads=1)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: gate.begun == 1)
            term.lease = False
            gate.opened.set()
            await until(lambda: len(term.waiting()) == 1)
            await asyncio.sleep(0.05)
            assert gate.begun == 1
            term.lease = True
            await until(lambda: len(term.waiting()) == 2)

    run(script())


def test_a_def_body_that_outlives_its_timeout_keeps_its_thread_and_so_its_slot() -> None:
    first, second = Gate(), Gate()
    second.opened.set()

    async def f(ctx: Context) -> None:
        await ctx.step.options(timeout=0.05, retries=0).run("slow", first.body)

    async def g(ctx: Context) -> None:
        await ctx.step.run("quick", second.body)

    async def script() -> None:
        engine = app(f)
        engine.function("g")(g)
        async with Executor(engine, capacity=Capacity(threads=1)) as executor:
            term, other = ScriptedTerm(executor), ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: any(isinstance(command, FailStep) for command in term.posted))
            other.execute("g")
            await asyncio.sleep(0.05)
            assert second.begun == 0
            first.opened.set()
            await until(lambda: second.begun)

    run(script())


def test_def_functions_wait_for_a_thread_and_are_not_lent_meanwhile() -> None:
    gate = Gate()

    def f(_: SyncContext) -> None:
        gate.body()

    async def script() -> None:
        async with Executor(app(f), capacity=Capacity(threads=1)) as executor:
            running, waiting = ScriptedTerm(executor), ScriptedTerm(executor)
            running.execute("f")
            await until(lambda: gate.begun)
            waiting.execute("f")
            await settle()
            executor.lend(waiting, 1_000)
            executor.lend(running, 1_000)
            assert waiting.posted == []
            assert [type(command) for command in running.posted] == [LendRun]
            gate.opened.set()
            await until(lambda: running.returned)

    run(script())
    assert gate.begun == 1


@pytest.mark.parametrize("wait", ["sleep", "retry"])
def test_def_functions_that_wait_for_a_time_keep_no_thread(wait: str) -> None:
    def fail() -> None:
        raise OSError

    def f(ctx: SyncContext) -> None:
        if wait == "sleep":
            ctx.step.sleep("nap", "1s")
        else:
            ctx.step.run("fails", fail)

    async def script() -> None:
        async with Executor(app(f), capacity=Capacity(threads=1)) as executor:
            terms = [ScriptedTerm(executor) for _ in range(20)]
            for term in terms:
                term.execute("f")
            await until(lambda: all(Suspend(RUN, 0) in term.posted for term in terms))

    run(script())
