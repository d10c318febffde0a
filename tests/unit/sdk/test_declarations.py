"""What can be declared, and what a wrong declaration says."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import pytest
from pydantic import BaseModel

from stream_engine import Context, DeclarationError, Engine, Event, Function, On, Retry, SyncContext, function


class Order(BaseModel):
    order_id: int


def declare(name: str = "f", fn: Any = None, **options: Any) -> Function[..., Any]:
    async def body(ctx: Context) -> None: ...

    return Engine("shop").function(name, **options)(body if fn is None else fn)


async def generator(ctx: Context) -> Any:
    yield 1


async def two_parameters(ctx: Context, other: int) -> None: ...


async def takes_sync(ctx: SyncContext) -> None: ...


def takes_async(ctx: Context) -> None: ...


async def unresolvable(ctx: "Context[Nowhere]") -> None: ...  # type: ignore[name-defined] # noqa: F821 - it is what the test is about


class Empty: ...


class Misspelt:
    async def around_runs(self, ctx: Any, call: Any) -> Any: ...


class Blocking:
    def around_run(self, ctx: Any, call: Any) -> Any: ...


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "app's name": (
        lambda: Engine("my shop"),
        r"Engine: name='my shop': Kafka's topics are called after it: give 1 to 200",
    ),
    "app's name is dots": (lambda: Engine(".."), r"Engine: name='\.\.'"),
    "events topic": (lambda: Engine("shop", events="a/b"), r"Engine: events='a/b'"),
    "lifespan": (lambda: Engine("shop", lifespan=3), r"Engine: lifespan=3: give a function"),  # type: ignore[arg-type] # what the test is about
    "middleware is no list": (lambda: Engine("shop", middleware=3), r"Engine: middleware=3: give a list of objects"),  # type: ignore[arg-type] # what the test is about
    "middleware without methods": (
        lambda: Engine("shop", middleware=[Empty]),
        r"middleware Empty: it has none of the methods around_run, around_step, around_send",
    ),
    "middleware misspelt": (
        lambda: Engine("shop", middleware=[Misspelt()]),
        r"nothing calls around_runs; did you mean 'around_run'\?",
    ),
    "middleware blocking": (lambda: Engine("shop", middleware=[Blocking]), r"around_run must be `async def`"),
    "id": (lambda: declare("process order"), r"function: id='process order': give 1 to 128 of the characters"),
    "id empty": (lambda: declare(""), r"function: id=''"),
    "unknown option": (
        lambda: declare(retrys=3),
        r"function 'f': retrys=3: there is no such option; did you mean 'retries'\?",
    ),
    "option of another age": (
        lambda: declare(quux=1),
        r"quux=1: there is no such option; there are accepts_new, batch, cancel_on, concurrency,",
    ),
    "trigger": (lambda: declare(on=""), r"function 'f': on='': give text of 1 to 256 characters"),
    "trigger is no text": (lambda: declare(on=[3]), r"function 'f': on=3: give text"),
    "no triggers": (lambda: declare(on=[]), r"function 'f': on=\[\]: give at least one event, or leave it out"),
    "wildcard inside": (lambda: declare(on="order/*/x"), r"on='order/\*/x': a \* may only stand at the end"),
    "two wildcards": (lambda: declare(on="order/**"), r"on='order/\*\*': a \* may only stand at the end"),
    "reserved trigger": (lambda: declare(on="engine/start/g"), r"names that start with 'engine/' are the engine's own"),
    "blank trigger": (lambda: declare(on=" order"), r"blanks at its ends, are not allowed"),
    "version": (lambda: declare(version=2), r"function 'f': version=2: give 1 to 128 of the characters"),
    "retries": (lambda: declare(retries=21), r"function 'f': retries=21: give a whole number from 0 to 20, or Retry"),
    "retries true": (lambda: declare(retries=True), r"function 'f': retries=True"),
    "accepts_new": (lambda: declare(accepts_new="no"), r"function 'f': accepts_new='no': give True or False"),
    "retry limit": (lambda: Retry(-1), r"Retry: limit=-1: give a whole number from 0 to 20"),
    "retry backoff": (lambda: Retry(backoff="exp"), r"Retry: backoff='exp': give one of exponential, linear, constant"),  # type: ignore[arg-type] # what the test is about
    "retry base": (lambda: Retry(base="5 parsecs"), r"Retry: base: '5 parsecs' is not a duration; write a number of"),
    "retry max": (lambda: Retry(max=-1), r"Retry: max: -1 is not a duration"),
    "retry base above max": (
        lambda: Retry(base="2h"),
        r"Retry: base='2h': the first delay is longer than any may be: give at most max='1h', or a longer max",
    ),
    "retry jitter": (lambda: Retry(jitter=0.5), r"Retry: jitter=0\.5: give True or False"),  # type: ignore[arg-type] # what the test is about
    "retry on": (lambda: Retry(on=("OSError",)), r"Retry: on=\('OSError',\): give exception classes"),  # type: ignore[arg-type] # what the test is about
    "no function": (lambda: declare(fn=3), r"function 'f': 3 is no function; give `def` or `async def`"),
    "a class": (lambda: declare(fn=Empty), r"is no function; give `def` or `async def`"),
    "generator": (lambda: declare(fn=generator), r"function 'f': generator is a generator; it must return its result"),
    "parameters": (
        lambda: declare(fn=two_parameters),
        r"function 'f': it is called with \(ctx\), but has \(ctx: .*other",
    ),
    "SyncContext": (
        lambda: declare(fn=takes_sync),
        r"an `async def` function gets a Context, but 'ctx' is a SyncContext",
    ),
    "Context": (lambda: declare(fn=takes_async), r"a `def` function gets a SyncContext, but 'ctx' is a Context"),
    "annotation": (lambda: declare(fn=unresolvable), r"annotation 'Context\[Nowhere\]' of 'ctx' cannot be evaluated"),
    "handler": (lambda: declare(on_failure=takes_sync), r"function 'f': on_failure: it is called with \(ctx, error\)"),
    "handler is a function": (
        lambda: declare(on_failure=declare("g")),
        r"give a plain function of \(ctx, error\), not",
    ),
    "event's name": (
        lambda: Engine("shop").event("a*", Order),
        r"Engine\.event: name='a\*': an event's name has no \*",
    ),
    "model": (lambda: Engine("shop").event("a", dict), r"event 'a': model=<class 'dict'>: give a subclass of pydantic"),  # type: ignore[arg-type] # what the test is about
    "key": (lambda: Engine("shop").event("a", Order, key="order_id"), r"event 'a': key='order_id': give a dotted path"),
    "key's field": (
        lambda: Engine("shop").event("a", Order, key="data.orderid"),
        r"event 'a': key='data\.orderid': Order has no field 'orderid'; did you mean 'order_id'\?",
    ),
    "include": (
        lambda: Engine("shop").include([cast("Any", print)]),
        r"Engine\.include: <built-in .* is not a function declared by",
    ),
    "include no list": (
        lambda: Engine("shop").include(cast("Any", declare())),
        r"Engine\.include: Function\(.*: give a list of functions declared by @function, or a module",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_declaration_says_what_and_what_else(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(DeclarationError, match=message):
        make()


def test_an_event_has_one_model() -> None:
    engine = Engine("shop")
    engine.event("a", Order)
    with pytest.raises(DeclarationError, match="event 'a' is declared twice"):
        engine.event("a", Order)


def test_versions_stand_side_by_side() -> None:
    engine = Engine("shop")

    async def body(ctx: Context) -> None: ...

    old = engine.function("f", on="a", version="1", accepts_new=False)(body)
    new = engine.function("f", on="b", version="2", on_failure=lambda ctx, error: None)(body)
    assert engine.functions == [old, new]
    assert engine.find("f", "1") is old
    assert engine.catalogue().functions["f"].versions == ["2", "1"]
    assert engine.catalogue().functions["f"].triggers == ["b", "engine/start/f"]
    rules = engine.rules_functions()
    assert (rules["f"].versions, rules["f"].on_failure) == (("2", "1"), "f:on_failure")
    assert rules["f:on_failure"].versions == ("2",)
    assert engine.find("f:on_failure", "2") is new.on_failure


def test_one_version_accepts_new_runs() -> None:
    engine = Engine("shop")

    async def body(ctx: Context) -> None: ...

    engine.function("f", version="1", accepts_new=False)(body)
    with pytest.raises(DeclarationError, match="accepts_new=False on every version"):
        engine.catalogue()
    engine.function("f", version="2")(body)
    with pytest.raises(DeclarationError, match="version='2': it is declared twice in app 'shop'"):
        engine.function("f", version="2")(body)
    with pytest.raises(DeclarationError, match="version='3': new runs start on version '2' already"):
        engine.function("f", version="3")(body)


def test_include_takes_lists_engines_and_modules() -> None:
    async def body(ctx: Context) -> None: ...

    mail = Engine("mail")
    loose, other = function("loose")(body), mail.function("other")(body)
    module = ModuleType("jobs")
    module.__dict__.update(job=function("job")(body), number=3)
    shop = Engine("shop")
    shop.include([loose])
    shop.include(mail.functions)
    shop.include(module)
    shop.include([loose])
    assert [item.id for item in shop.functions] == ["loose", "other", "job"]
    assert other.app is shop


def test_a_function_without_an_app_does_not_start() -> None:
    async def body(ctx: Context) -> None: ...

    with pytest.raises(DeclarationError, match=r"function 'loose' belongs to no app yet: engine\.include"):
        function("loose")(body).start_sync({})


def test_a_declared_function_is_callable_as_it_was() -> None:
    declared = declare("f", lambda ctx: ctx + 1)
    assert declared(2) == 3
    assert (declared.id, declared.version) == ("f", "1")


def test_a_model_next_to_its_function_is_found() -> None:
    class Local(BaseModel):
        n: int

    async def body(ctx: "Context[Local]") -> None: ...

    assert Engine("shop").function("f")(body).code.decode_event(b'{"n": 1}') == Local(n=1)


def test_triggers_are_listed_once_and_the_direct_start_last() -> None:
    declared = declare(on=["a", On("b/*"), "a"])
    assert declared.options.triggers == ("a", "b/*", "engine/start/f")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Event(""), "Event: name=''"),
        (lambda: Event("a", id=""), "Event 'a': id='': give 1 to 256 printable"),
        (lambda: Event("a", id="a\0b"), r"Event 'a': id='a\\x00b': give 1 to 256 printable"),
        (lambda: Event("a", ts="now"), "Event 'a': ts='now': give a datetime with a time zone"),  # type: ignore[arg-type] # what the test is about
        (lambda: Event("a", ts=10**20), "Event 'a': ts=1000"),
    ],
)
def test_wrong_events_say_what_is_wrong(make: Callable[[], Event], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
