"""Flow control of simulated functions, drawn from a seed; the engine's own matching makes gates of it.

The key is the event's name, which every event has, also those that runs send. Windows are short, because worlds are.
"""

from random import Random

from msgspec.structs import replace

from stream_engine.core.functions.flow import (
    PLAIN,
    Batch,
    CancelOn,
    Concurrency,
    Debounce,
    Flow,
    RateLimit,
    Singleton,
    Throttle,
)

KEY = "event.name"
PRIORITY = "event.name == 'a' ? 60 : 0"


def draw_flow(random: Random, slots: int = 0) -> Flow:
    """Draw what a function declares; often nothing, sometimes all that goes together, but only so many slots where that is given."""
    if slots:
        return Flow(concurrency=(Concurrency(slots),))
    key = random.choice((KEY, KEY, None))
    window = random.choice((5, 50, 300))
    throttle = Throttle(random.choice((1, 2)), per=window, key=key, burst=random.choice((0, 0, 1)))
    limits = Flow(
        concurrency=_concurrency(random, key),
        throttle=random.choice((None, None, throttle)),
        priority=random.choice((None, PRIORITY)),
    )
    rate = RateLimit(random.choice((1, 2)), per=window, key=key)
    singleton = Singleton(random.choice(("skip", "replace")), key=key)
    debounce = Debounce(window, key, random.choice((None, 2 * window)), random.choice(("latest", "all")))
    batch = Batch(random.choice((1, 2, 3)), window, key)
    own = (Concurrency(1, key=key),)
    which = random.choice(
        ("plain", "limits", "limits", "rate limit", "singleton", "debounce", "batch", "idempotency", "run", "gathered")
    )
    by = random.choice(("a", "b", "c"))
    cancel_on = (CancelOn(by, "data.k", "data.k"),) if random.random() < 0.4 else ()
    drawn = {
        "plain": PLAIN,
        "limits": limits,
        "rate limit": Flow(rate_limit=rate),
        "singleton": Flow(singleton=singleton),
        "debounce": Flow(debounce=debounce, concurrency=random.choice(((), own))),
        "batch": Flow(batch=batch),
        "idempotency": Flow(idempotency=KEY),
        "run": Flow(limits.concurrency, throttle, rate, debounce, None, singleton, PRIORITY),
        "gathered": Flow(own, throttle, random.choice((None, rate)), None, batch, priority=PRIORITY),
    }[which]
    return replace(drawn, cancel_on=cancel_on) if cancel_on else drawn


def _concurrency(random: Random, key: str | None) -> tuple[Concurrency, ...]:
    """Draw limits. Functions that name one pool declare one limit of it."""
    return random.choice(
        (
            (),
            (Concurrency(1, key=key),),
            (Concurrency(2, key=key),),
            (Concurrency(1, key=KEY), Concurrency(2)),
            (Concurrency(1, key=key, while_waiting="release"),),
            (Concurrency(2), Concurrency(1, key=KEY, while_waiting="release")),
            (Concurrency(1, key=KEY, pool="shared"),),
            (Concurrency(2, pool="all"), Concurrency(1, key=KEY, pool="shared")),
        )
    )
