"""Pools: slots that several functions of an app share, and about which they have to agree."""

from stream_engine.core.functions.flow import Concurrency
from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.function import Options


class Pools:
    """The pools of an app, each as the first function has declared it."""

    def __init__(self) -> None:
        self._declared: dict[str, tuple[str, Concurrency]] = {}

    def join(self, where: str, options: Options) -> None:
        """Take the pools of a function that is included; those of a version that accepts no new runs have no say.

        Raises:
            DeclarationError: another function, or the same, has declared one of them otherwise, or its name is taken by the function's own limit.
        """
        if not options.accepts_new:
            return
        joined: dict[str, tuple[str, Concurrency]] = {}
        for limit in options.flow.concurrency:
            if limit.pool is None:
                continue
            if limit.pool == options.id and options.flow.concurrency[0].pool is None:
                raise DeclarationError.of(
                    where,
                    "concurrency",
                    limit,
                    "its pool is called as the function, whose own limit stands before it; call the pool otherwise",
                )
            first, known = (self._declared | joined).get(limit.pool, (where, limit))
            for option in ("limit", "while_waiting"):
                one, other = getattr(limit, option), getattr(known, option)
                if one != other:
                    of_whom = "another limit" if first == where else first
                    raise DeclarationError(
                        f"{where}: concurrency: {option}={one!r}: {of_whom} has {option}={other!r} for the pool {limit.pool!r}; "
                        "all who share a pool must declare the same"
                    )
            joined.setdefault(limit.pool, (where, limit))
        self._declared = joined | self._declared
