"""What may be called what."""

import difflib
import re
from collections.abc import Iterable

from stream_engine.core.functions.catalogue import RESERVED, WILDCARD
from stream_engine.core.functions.cron import expression_problem
from stream_engine.core.routing.receive import MAX_NAME, event_name_problem
from stream_engine.sdk.errors import DeclarationError, StepUsageError

_KAFKA = re.compile(r"[A-Za-z0-9._-]+")
_LONGEST_TOPIC = 249
# Room for the longest thing that is put behind an app's name: `.replay.<id>` of a consumer group.
_LONGEST_APP = 200
_LONGEST_ID = 128


def check_app(name: object) -> str:
    """Return an app's name: topics and consumer groups are called after it."""
    if not _is_kafka_name(name, _LONGEST_APP):
        raise DeclarationError.of("Engine", "name", name, _kafka_rule(_LONGEST_APP))
    return str(name)


def check_topic(where: str, option: str, name: object) -> str:
    """Return the name of a topic, if Kafka would take it."""
    if not _is_kafka_name(name, _LONGEST_TOPIC):
        raise DeclarationError.of(where, option, name, _kafka_rule(_LONGEST_TOPIC))
    return str(name)


def check_id(where: str, option: str, name: object) -> str:
    """Return the id or the version of a function."""
    if not isinstance(name, str) or len(name) > _LONGEST_ID or not _KAFKA.fullmatch(name):
        raise DeclarationError.of(where, option, name, f"give 1 to {_LONGEST_ID} of the characters A-Z a-z 0-9 . _ -")
    return name


def check_event_name(where: str, option: str, name: object) -> str:
    """Return the name of an event that users declare."""
    problem = event_name_problem(name)
    if problem is not None:
        raise DeclarationError.of(where, option, name, problem)
    assert isinstance(name, str)
    if name.startswith(RESERVED):
        raise DeclarationError.of(where, option, name, f"names that start with {RESERVED!r} are the engine's own")
    return name


def check_trigger(where: str, name: object, option: str = "on") -> str:
    """Return an event's name, or a pattern of names: a prefix followed by ``*``."""
    if isinstance(name, str) and WILDCARD in name and expression_problem(name) is None:
        raise DeclarationError.of(where, option, name, f"this is a time, and no event's name: give Cron({name!r})")
    prefix = name.removesuffix(WILDCARD) if isinstance(name, str) else name
    if isinstance(name, str) and name.endswith(WILDCARD) and not prefix:
        return name
    if isinstance(prefix, str) and WILDCARD in prefix:
        raise DeclarationError.of(
            where, option, name, f"a {WILDCARD} may only stand at the end, as in 'order/{WILDCARD}'"
        )
    check_event_name(where, option, prefix)
    return str(name)


def check_step_id(id: object) -> str:
    """Return the id of a step as the user gave it.

    Raises:
        StepUsageError: it is no id.
    """
    # Printable, because ids are parts of keys, which zero bytes join, and lines of listings.
    if isinstance(id, str) and 0 < len(id) <= MAX_NAME and id.isprintable():
        return id
    raise StepUsageError(f"step {id!r}: a step's id is text of 1 to {MAX_NAME} printable characters")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "did you mean ...?" for a misspelt word, or else what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def _is_kafka_name(name: object, longest: int) -> bool:
    return (
        isinstance(name, str)
        and len(name) <= longest
        and _KAFKA.fullmatch(name) is not None
        and name not in (".", "..")
    )


def _kafka_rule(longest: int) -> str:
    return f"Kafka's topics are called after it: give 1 to {longest} of the characters A-Z a-z 0-9 . _ -"
