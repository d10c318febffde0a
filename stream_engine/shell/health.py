"""How a worker is, as those who restart it and send it work want to know."""

from collections.abc import Callable
from dataclasses import dataclass

from stream_engine.shell.endpoint import Answer, Request, Route


@dataclass(frozen=True)
class Health:
    """How a worker is.

    Attributes:
        live: its own threads do their rounds; where they do not, only a restart helps. Users' code, a recovery however long, and
            a Kafka that does not answer leave it alive.
        ready: every partition that it is to lead is led, events are routed, and Kafka answers.
        why: what it lacks; empty when it is ready.
    """

    live: bool
    ready: bool
    why: str = ""


def routes(health: Callable[[], Health]) -> list[Route]:
    """Return the routes by which a worker's health is asked for: 200 for yes, 503 for no, and in both cases why."""

    def live(_: Request) -> Answer:
        found = health()
        return Answer(200 if found.live else 503, found)

    def ready(_: Request) -> Answer:
        found = health()
        return Answer(200 if found.live and found.ready else 503, found)

    return [Route("GET", "/live", live), Route("GET", "/ready", ready)]
