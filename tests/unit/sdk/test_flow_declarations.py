"""Flow control as it is declared: what it means as data, and what a wrong option or combination says."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stream_engine import (
    Batch,
    Concurrency,
    Context,
    Cron,
    Debounce,
    DeclarationError,
    Engine,
    Function,
    On,
    Priority,
    RateLimit,
    Singleton,
    Throttle,
)
from stream_engine.core.functions import flow
from stream_engine.core.functions.catalogue import Catalogue, FunctionSpec, cron_event, start_event


async def body(ctx: Context) -> None: ...


def declare(name: str = "f", engine: Engine | None = None, **options: Any) -> Function[..., Any]:
    return (engine or Engine("shop")).function(name, **options)(body)


def spec(**options: Any) -> FunctionSpec:
    engine = Engine("shop")
    declare(engine=engine, **options)
    return Catalogue.decode(engine.catalogue().encode()).functions["f"]


def two(first: Any, second: Any) -> None:
    engine = Engine("shop")
    declare("one", engine, concurrency=first)
    declare("two", engine, concurrency=second)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "limit": (lambda: Concurrency(0), r"^Concurrency: limit=0: give a whole number from 1 to 1000000$"),
    "limit is no number": (lambda: Concurrency("10"), r"Concurrency: limit='10': give a whole number"),  # type: ignore[arg-type] # what the test is about
    "limit is true": (lambda: Throttle(True, "1m"), r"Throttle: limit=True: give a whole number"),
    "key's syntax": (
        lambda: Concurrency(1, key="event.data."),
        r"Concurrency: key='event\.data\.': column 12: Syntax error",
    ),
    "key of nothing": (
        lambda: Throttle(1, "1m", key="data.account_id"),
        r"Throttle: key='data\.account_id': .*there are event, and CEL's functions \(write event\.data\.account_id\?\)",
    ),
    "key is no text": (lambda: RateLimit(1, "1h", key=3), r"RateLimit: key=3: give an expression as text, such as"),  # type: ignore[arg-type] # what the test is about
    "key is a map": (
        lambda: Singleton("event"),
        r"Singleton: key='event': it gives a value of type map<string, dyn>; it must give text, a number",
    ),
    "key is all of the data": (
        lambda: Singleton("event.data"),
        r"Singleton: key='event\.data': it is an object, .*; name one of its fields, such as event\.data\.id",
    ),
    "key is a duration": (lambda: Singleton("duration('1h')"), r"it gives a value of type duration; it must give text"),
    "key is empty": (lambda: Singleton(""), r"Singleton: key='': it is empty; write for example event\.data\.id"),
    "pool": (lambda: Concurrency(1, pool="my pool"), r"Concurrency: pool='my pool': give 1 to 128 of the characters"),
    "while_waiting": (
        lambda: Concurrency(1, while_waiting="keep"),  # type: ignore[arg-type] # what the test is about
        r"Concurrency: while_waiting='keep': give one of 'hold', 'release'",
    ),
    "per": (lambda: Throttle(1, per="1 minute"), r"Throttle: per: '1 minute' is not a duration; write a number of"),
    "per is nothing": (lambda: Throttle(1, per=0), r"Throttle: per=0: give a duration from 1 ms to 366 days"),
    "per is too long": (lambda: RateLimit(1, per="400d"), r"RateLimit: per='400d': give a duration from 1 ms to 366 d"),
    "burst": (lambda: Throttle(1, "1m", burst=-1), r"Throttle: burst=-1: give a whole number from 0"),
    "period": (lambda: Debounce("0s"), r"Debounce: period='0s': give a duration from 1 ms"),
    "max_wait": (
        lambda: Debounce("1m", max_wait="59s"),
        r"Debounce: max_wait='59s': nothing would ever be quiet for so long: give at least period='1m'",
    ),
    "keep": (lambda: Debounce("1s", keep="first"), r"Debounce: keep='first': give one of 'latest', 'all'"),  # type: ignore[arg-type] # what the test is about
    "size": (lambda: Batch(0, "1s"), r"Batch: size=0: give a whole number from 1 to 10000"),
    "timeout": (lambda: Batch(10, timeout=timedelta(0)), r"Batch: timeout=datetime.timedelta\(0\): give a duration"),
    "max_bytes": (lambda: Batch(10, "1s", max_bytes=0), r"Batch: max_bytes=0: give a whole number from 1 to 67108864"),
    "batch's if_": (
        lambda: Batch(10, "1s", if_="1 + 1"),
        r"Batch: if_='1 \+ 1': it gives a value of type int; it must",
    ),
    "mode": (lambda: Singleton(mode="queue"), r"Singleton: mode='queue': give one of 'skip', 'replace'"),  # type: ignore[arg-type] # what the test is about
    "priority": (lambda: Priority(601), r"Priority: seconds=601: give from -600 to 600 seconds of head start"),
    "priority's text": (lambda: Priority("-60 * 60"), r"Priority: seconds='-60 \* 60': give from -600 to 600 seconds"),
    "priority is infinite": (lambda: Priority(float("nan")), r"Priority: seconds=nan: give from -600 to 600"),
    "priority's type": (lambda: Priority("'high'"), r"it gives a value of type string; it must give a number"),
    "priority is a list": (lambda: Priority([1]), r"Priority: seconds=\[1\]: give from .*, or an expression that does"),  # type: ignore[arg-type] # what the test is about
    "cron's fields": (lambda: Cron("0 9 * *"), r"Cron: expression='0 9 \* \*': give five fields \(minute, hour, day,"),
    "cron's range": (lambda: Cron("60 * * * *"), r"Cron: expression='60 \* \* \* \*': .*out of range; give five"),
    "cron's names": (lambda: Cron("0 9 * * fryday"), r"'fryday' is no name of a month or a weekday"),
    "cron at random": (lambda: Cron("R * * * *"), r"'R' is no name of a month or a weekday; give five fields"),
    "cron by a name": (lambda: Cron("@daily"), r"Cron: expression='@daily': give five fields"),
    "cron never": (lambda: Cron("0 0 30 2 *"), r"there is no such day, so that it would never be due"),
    "cron is no text": (lambda: Cron(5), r"Cron: expression=5: give text"),  # type: ignore[arg-type] # what the test is about
    "zone": (
        lambda: Cron("* * * * *", tz="Berlin"),
        r"Cron: tz='Berlin': there is no such time zone; give a name such",
    ),
    "overlap": (
        lambda: Cron("* * * * *", overlap="replace"),  # type: ignore[arg-type] # what the test is about
        r"Cron: overlap='replace': give one of 'skip', 'queue', 'cancel', 'allow'",
    ),
    "catch_up": (lambda: Cron("* * * * *", catch_up="soon"), r"Cron: catch_up: 'soon' is not a duration"),
    "jitter": (lambda: Cron("* * * * *", jitter="2d"), r"Cron: jitter='2d': give at most a day"),
    "if_": (lambda: On("a", if_="event.data.x >"), r"On\('a'\): if_='event\.data\.x >': column 15: Syntax error"),
    "if_ assigns": (
        lambda: On("a", if_="event.data.x = 1"),
        r"column 14: Syntax error: .*; CEL has && \|\| ! == null true false",
    ),
    "if_ is text": (
        lambda: On("a", if_="'yes'"),
        r"On\('a'\): if_=\"'yes'\": it gives a value of type string; it must",
    ),
    "if_ cannot be": (lambda: On("a", if_="event.name == 'a' == 1"), r"found no matching overload for '_==_'"),
    "if_ is too long": (
        lambda: On("a", if_="1 == " + "1" * 1_000),
        r"it has 1005 characters; at most 1000 are allowed",
    ),
    "if_ maps": (
        lambda: On("a", if_="event.data.x.map(i, i) == []"),
        r"map is not allowed, because it may take very long",
    ),
    "trigger inside On": (lambda: declare(on=On("order/*/x")), r"on='order/\*/x': a \* may only stand at the end"),
    "cron as text": (
        lambda: declare(on="0 9 1 1 *"),
        r"on='0 9 1 1 \*': this is a time, and no event's name: give Cron\('0 9 1 1 \*'\)",
    ),
    "one cron twice": (lambda: declare(on=[Cron("0 * * * *"), Cron("0 * * * *")]), r"one Cron is there twice"),
    "concurrency is a number": (
        lambda: declare(concurrency=10),
        r"function 'f': concurrency=10: give Concurrency\(10\), or a list of up to two of them",
    ),
    "no concurrency": (lambda: declare(concurrency=[]), r"concurrency=\[\]: give Concurrency\(10\)"),
    "three limits": (
        lambda: declare(concurrency=[Concurrency(1), Concurrency(2, "event.id"), Concurrency(3, "event.name")]),
        r"a function has at most two limits, and not 3",
    ),
    "one limit twice": (
        lambda: declare(concurrency=[Concurrency(1, "event.id"), Concurrency(2, "event.id")]),
        r"two limits have one key and pool; keep the lower one",
    ),
    "throttle is a number": (lambda: declare(throttle=30), r"throttle=30: give Throttle\(30, per='1m'\)"),
    "rate_limit is a throttle": (
        lambda: declare(rate_limit=Throttle(1, "1m")),
        r"rate_limit=Throttle\(.*: give RateLimit\(1, per='1h'\)",
    ),
    "singleton is true": (lambda: declare(singleton=True), r"singleton=True: give Singleton\(\)"),
    "debounce is text": (lambda: declare(debounce="5s"), r"debounce='5s': give Debounce\('5s'\)"),
    "batch is a number": (lambda: declare(batch=100), r"batch=100: give Batch\(100, timeout='10s'\)"),
    "priority is a number": (lambda: declare(priority=100), r"priority=100: give Priority\("),
    "idempotency": (lambda: declare(idempotency=True), r"function 'f': idempotency=True: give an expression as text"),
    "misspelt": (lambda: declare(concurency=1), r"there is no such option; did you mean 'concurrency'\?"),
    "batch and debounce": (
        lambda: declare(batch=Batch(10, "1s"), debounce=Debounce("1s")),
        r"function 'f': batch and debounce: they do not go together; leave one of them out",
    ),
    "batch and singleton": (
        lambda: declare(batch=Batch(10, "1s"), singleton=Singleton()),
        r"function 'f': batch and singleton: they do not go together",
    ),
    "batch and another key": (
        lambda: declare(batch=Batch(10, "1s", "event.data.tenant"), concurrency=Concurrency(1, "event.data.user")),
        r"concurrency with key='event\.data\.user', and batch: .* the batch's own, which is 'event\.data\.tenant', or be",
    ),
    "batch without a key": (
        lambda: declare(batch=Batch(10, "1s"), throttle=Throttle(1, "1s", "event.data.user")),
        r"throttle with key='event\.data\.user', and batch: .* the batch's own, which has none, or be left out",
    ),
    "batch and cron": (
        lambda: declare(on=["a", Cron("0 * * * *")], batch=Batch(10, "1s")),
        r"function 'f': batch and Cron: a tick is not gathered with others; give the cron a function of its own",
    ),
    "debounce and cron": (
        lambda: declare(on=["a", Cron("0 * * * *")], debounce=Debounce("1s")),
        r"debounce and Cron: a tick is not gathered",
    ),
    "priority that no tick has": (
        lambda: declare(on=Cron("0 * * * *"), priority=Priority("event.data.plan == 'x' ? 1 : 0")),
        r"priority and Cron: every tick would be a dead letter, because it has no such number",
    ),
    "the data forgotten": (
        lambda: declare(concurrency=Concurrency(1, key="event.user_id")),
        r"Concurrency: key='event.user_id': column 1: event has name, id, ts and data, and no user_id: write event.data.user_id",
    ),
    "key that ticks do not have": (
        lambda: declare(on=Cron("0 * * * *"), singleton=Singleton("event.data.account_id")),
        r"singleton and Cron: every tick would be a dead letter, because it has no such key \(.*'account_id'",
    ),
    "pool of two limits": (
        lambda: two(Concurrency(10, pool="ai"), Concurrency(5, pool="ai")),
        r"function 'two': concurrency: limit=5: function 'one' has limit=10 for the pool 'ai'; all who share a pool must",
    ),
    "pool of two ways": (
        lambda: two(Concurrency(10, pool="ai"), Concurrency(10, pool="ai", while_waiting="release")),
        r"while_waiting='release': function 'one' has while_waiting='hold' for the pool 'ai'",
    ),
    "pool called as the function": (
        lambda: declare(concurrency=[Concurrency(5), Concurrency(2, pool="f")]),
        r"function 'f': concurrency=Concurrency\(limit=2, .*: its pool is called as the function, .*; call the pool otherwise",
    ),
    "pool within a function": (
        lambda: declare(concurrency=[Concurrency(10, pool="ai"), Concurrency(5, "event.id", pool="ai")]),
        r"limit=5: another limit has limit=10 for the pool 'ai'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_when_it_is_declared(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(DeclarationError, match=message):
        make()


def test_the_contracts_example() -> None:
    found = spec(
        on=[On("order/placed", if_="event.data.total > 100"), "order/paid"],
        concurrency=Concurrency(10, key="event.data.merchant_id"),
        throttle=Throttle(30, per="1m", key="event.data.account_id", burst=0),
        rate_limit=RateLimit(1, per="1h", key="event.data.email"),
        debounce=Debounce("5s", key="event.data.order_id", max_wait="1m", keep="latest"),
        singleton=Singleton(key="event.data.account_id", mode="skip"),
        priority=Priority("event.data.plan == 'enterprise' ? 120 : 0"),
        idempotency="event.data.order_id",
    )
    assert found.triggers == ["order/placed", "order/paid", start_event("f")]
    assert found.conditions == {"order/placed": ("event.data.total > 100",)}
    assert found.flow == flow.Flow(
        (flow.Concurrency(10, "event.data.merchant_id"),),
        flow.Throttle(30, 60_000, "event.data.account_id"),
        flow.RateLimit(1, 3_600_000, "event.data.email"),
        flow.Debounce(5_000, "event.data.order_id", 60_000),
        None,
        flow.Singleton("skip", "event.data.account_id"),
        "event.data.plan == 'enterprise' ? 120 : 0",
        "event.data.order_id",
    )


def test_other_forms() -> None:
    pooled = Concurrency(limit=2, pool="openai", while_waiting="release")
    found = spec(
        concurrency=[pooled, Concurrency(1, "event.data.user")],
        throttle=Throttle(3, timedelta(seconds=1.5), burst=2),
        debounce=Debounce(0.25, keep="all"),
        priority=Priority(-30),
    )
    assert found.flow == flow.Flow(
        (flow.Concurrency(2, None, "openai", "release"), flow.Concurrency(1, "event.data.user")),
        throttle=flow.Throttle(3, 1_500, None, 2),
        debounce=flow.Debounce(250, None, None, "all"),
        priority="-30",
    )
    batch = Batch(100, timeout="10s", key="event.data.tenant", max_bytes=10_485_760, if_="event.data.bulk")
    beside = Concurrency(5, "event.data.tenant")
    found = spec(batch=batch, concurrency=beside, rate_limit=None, idempotency="event.data.id")
    assert found.flow.batch == flow.Batch(100, 10_000, "event.data.tenant", 10_485_760, "event.data.bulk")


def test_crons_are_triggers() -> None:
    engine = Engine("shop")
    declare(
        engine=engine,
        on=["a", Cron("0 9 * * mon-fri", "Europe/Berlin", overlap="queue", jitter="1m"), Cron("*/5 * * * * *")],
    )
    found = engine.catalogue().functions["f"]
    assert found.triggers == ["a", cron_event("f"), start_event("f")]
    assert found.crons == (
        flow.Cron("0 9 * * mon-fri", "Europe/Berlin", "queue", 0, 60_000),
        flow.Cron("*/5 * * * * *"),
    )
    assert engine.rules_functions()["f"].crons == found.crons
    declare("g", on=Cron("* * * * *"), concurrency=Concurrency(1, "event.data.cron"), singleton=Singleton())


def test_a_trigger_without_a_condition_needs_none() -> None:
    found = spec(on=[On("a", if_="event.data.x"), "a", On("b", if_="event.data.x"), On("b", if_="event.data.y")])
    assert found.triggers == ["a", "b", start_event("f")]
    assert found.conditions == {"b": ("event.data.x", "event.data.y")}


def test_leaders_go_by_what_the_current_version_declares() -> None:
    engine = Engine("shop")
    old = Concurrency(1, pool="ai")
    engine.function("f", version="1", accepts_new=False, concurrency=old)(body)
    engine.function("f", version="2", concurrency=Concurrency(2, pool="ai"), on_failure=lambda ctx, error: None)(body)
    rules = engine.rules_functions()
    assert rules["f"].flow == engine.catalogue().functions["f"].flow == flow.Flow((flow.Concurrency(2, None, "ai"),))
    assert rules["f:on_failure"].flow == flow.PLAIN


def test_a_pool_that_was_refused_leaves_nothing_behind() -> None:
    engine = Engine("shop")
    declare("one", engine, concurrency=Concurrency(10, pool="ai"))
    with pytest.raises(DeclarationError, match="limit=5"):
        declare("two", engine, concurrency=[Concurrency(3, pool="db"), Concurrency(5, pool="ai")])
    declare("three", engine, concurrency=[Concurrency(4, pool="db"), Concurrency(10, pool="ai")])


def test_a_plain_function_says_nothing_of_flow_control_in_the_catalogue() -> None:
    engine = Engine("shop")
    declare(engine=engine, on="a")
    raw = engine.catalogue().encode()
    assert b"flow" not in raw
    assert b"crons" not in raw
