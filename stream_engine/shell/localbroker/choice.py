"""Which kind of local broker to run. The decision is here; what each kind does is in a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Kind = Literal["docker", "java"]


def choose(*, wanted: Kind | None, previous: Kind | None, docker_answers: Callable[[], bool]) -> Kind:
    """Choose between Docker and Java.

    Args:
        wanted: what the user asked for; it is taken as it is, so that its own error can say what is missing.
        previous: the kind that ran in this folder last; its topics and data are in it.
        docker_answers: whether a Docker engine can be used now; asked only if the answer matters.
    """
    if wanted is not None:
        return wanted
    if previous == "java":
        return "java"
    return "docker" if docker_answers() else "java"
