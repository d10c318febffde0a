"""Flow control of simulated functions, drawn from a seed; the engine's own matching makes gates of it.

The key is the event's name, which every event has, also those that runs send. Windows are short, because worlds are.
"""

from random import Random

from stream_engine.core.flow import (
    PLAIN,
    Batch,
    Concurrency,
    Debounce,
    Flow,
    RateLimit,
    Singleton,
    Throttle,
)

KEY = "event.name"


def draw_flow(random: Random) -> Flow:
    """Draw what a function declares; often nothing."""
    key = random.choice((KEY, KEY, None))
    window = random.choice((5, 50, 300))
    limits = Flow(
        concurrency=random.choice(
            (
                (),
                (Concurrency(1, key=key),),
                (Concurrency(2, key=key),),
                (Concurrency(1, key=KEY), Concurrency(2)),
                (Concurrency(1, key=key, while_waiting="release"),),
                (Concurrency(1, key=KEY, pool="shared"),),
            )
        ),
        throttle=random.choice((None, None, Throttle(random.choice((1, 2)), per=window, key=key))),
        priority=random.choice((None, "event.name == 'a' ? 60 : 0")),
    )
    which = random.choice(("plain", "limits", "limits", "rate limit", "singleton", "debounce", "batch", "idempotency"))
    return {
        "plain": PLAIN,
        "limits": limits,
        "rate limit": Flow(rate_limit=RateLimit(random.choice((1, 2)), per=window, key=key)),
        "singleton": Flow(singleton=Singleton(random.choice(("skip", "replace")), key=key)),
        "debounce": Flow(
            debounce=Debounce(window, key, random.choice((None, 2 * window)), random.choice(("latest", "all"))),
            concurrency=random.choice(((), (Concurrency(1, key=key),))),
        ),
        "batch": Flow(batch=Batch(random.choice((1, 2, 3)), window, key)),
        "idempotency": Flow(idempotency=KEY),
    }[which]
