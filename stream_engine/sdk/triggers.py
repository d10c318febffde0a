"""What starts a function: events, and times."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from stream_engine.core.duration import Duration
from stream_engine.core.functions import flow
from stream_engine.core.functions.catalogue import cron_event
from stream_engine.core.functions.cron import expression_problem, zone_problem
from stream_engine.sdk import checks
from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.names import check_trigger


@dataclass(frozen=True)
class On:
    """A trigger: the name of an event, or a prefix of names followed by ``*`` (one or more characters).

    ``if_`` is an expression, such as ``"event.data.total > 100"``: events for which it does not hold, or that lack a field that it
    names, are not for the function. A value that is not allowed is a `DeclarationError`.
    """

    name: str
    if_: str | None = None

    def __post_init__(self) -> None:
        if self.if_ is not None:
            checks.expression(f"On({self.name!r})", "if_", self.if_, checks.CONDITIONS)


@dataclass(frozen=True)
class Cron:
    """A trigger by time; each tick is an event on the log, and comes once however many workers there are.

    Attributes:
        expression: minute, hour, day, month and weekday, or six fields with the seconds first.
        tz: the time zone. A time that its clocks skip fires just after the gap, one that they show twice fires once.
        overlap: what a tick does while a run of an earlier one is there: ``"skip"`` it, ``"queue"`` behind it, ``"cancel"`` the
            earlier one, or ``"allow"`` both.
        catch_up: ticks that are missed, while nothing runs, are made up for if they are no older than this, or than a minute; at most 366 days.
        jitter: each tick is put off by up to this much, at most a day, the same for all workers; beyond the period they overtake each other.

    Raises:
        DeclarationError: a value is not allowed.
    """

    expression: str
    tz: str = "UTC"
    overlap: Literal["skip", "queue", "cancel", "allow"] = "skip"
    catch_up: Duration = "0s"
    jitter: Duration = "0s"

    def __post_init__(self) -> None:
        _check_text("expression", self.expression, expression_problem)
        _check_text("tz", self.tz, zone_problem)
        checks.word("Cron", "overlap", self.overlap, ("skip", "queue", "cancel", "allow"))
        checks.duration("Cron", "catch_up", self.catch_up, 0)
        if checks.duration("Cron", "jitter", self.jitter, 0) > 86_400_000:
            raise DeclarationError.of("Cron", "jitter", self.jitter, "give at most a day")

    def spec(self) -> flow.Cron:
        """Return it as data."""
        catch_up, jitter = (checks.duration("Cron", "", value, 0) for value in (self.catch_up, self.jitter))
        return flow.Cron(self.expression, self.tz, self.overlap, catch_up, jitter)


class Triggers(NamedTuple):
    """What starts a function; ``conditions`` are as in `stream_engine.core.functions.catalogue.FunctionSpec`."""

    names: tuple[str, ...]
    conditions: dict[str, tuple[str, ...]]
    crons: tuple[flow.Cron, ...]


def triggers_of(where: str, function: str, on: Any) -> Triggers:
    """Return what the option ``on`` of a function means.

    Raises:
        DeclarationError: it is no trigger, or an empty list of them.
    """
    given = list(on) if isinstance(on, list | tuple | set | frozenset) else [on]
    if not given:
        raise DeclarationError.of(where, "on", on, "give at least one event, or leave it out: `start` starts it anyway")
    crons = tuple(trigger.spec() for trigger in given if isinstance(trigger, Cron))
    if len(set(crons)) < len(crons):
        raise DeclarationError.of(where, "on", on, "one Cron is there twice")
    conditions: dict[str, list[str]] = {}
    always: set[str] = set()
    for trigger in given:
        if isinstance(trigger, Cron):
            continue
        name = check_trigger(where, trigger.name if isinstance(trigger, On) else trigger)
        found = conditions.setdefault(name, [])
        if isinstance(trigger, On) and trigger.if_ is not None:
            found.append(trigger.if_)
        else:
            always.add(name)
    names = (*conditions, *([cron_event(function)] if crons else []))
    return Triggers(
        names, {name: tuple(dict.fromkeys(some)) for name, some in conditions.items() if name not in always}, crons
    )


def _check_text(option: str, value: object, problem: Callable[[str], str | None]) -> None:
    wrong = problem(value) if isinstance(value, str) else "give text"
    if wrong is not None:
        raise DeclarationError.of("Cron", option, value, wrong)
