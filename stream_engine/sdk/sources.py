"""What `Engine.source` declares: topics that others own, whose records are events."""

from collections.abc import Iterator

from stream_engine.core.functions.sources import FORMATS, Source
from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.names import check_event_name, check_topic, suggestion


class Sources:
    """The topics that an app reads besides its own events."""

    def __init__(self, app: str, events: str) -> None:
        self._app = app
        self._events = events
        self._sources: dict[str, Source] = {}

    def __iter__(self) -> Iterator[Source]:
        """The sources, in the order of their topics, whatever order they were declared in."""
        return iter(sorted(self._sources.values(), key=lambda source: source.topic))

    def declare(self, topic: object, name: object, form: object) -> None:
        """Add a topic.

        Raises:
            DeclarationError: topic, name or format cannot be what they are, or the topic is declared already.
        """
        topic = check_topic("Engine.source", "topic", topic)
        where = f"source {topic!r}"
        if topic in self._sources:
            raise DeclarationError(f"{where} is declared twice; its records are one kind of event")
        if topic == self._events or topic.startswith(f"{self._app}."):
            raise DeclarationError.of(
                "Engine.source", "topic", topic, f"topics of {self._app} itself are no source; give one that others own"
            )
        if form not in FORMATS:
            raise DeclarationError.of(where, "format", form, suggestion(str(form), FORMATS))
        if name is None and form != "cloudevents":
            raise DeclarationError.of(where, "name", name, "give the name of its events, such as 'order/placed'")
        called = "" if name is None else check_event_name(where, "name", name)
        self._sources[topic] = Source(topic, called, str(form))
