"""What `Engine.event` declares of events: the model that their data must fit, and where their key is."""

from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from stream_engine.core.routing.receive import Check
from stream_engine.sdk.codec import decode_plain
from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.events import Event, Message, data_json, message
from stream_engine.sdk.names import check_event_name, suggestion


class EventType(NamedTuple):
    """One kind of event: its name, its model, and the fields that lead to its key (none: the key is the producer's)."""

    name: str
    model: type[BaseModel]
    key: tuple[str, ...]

    def key_of(self, data: bytes) -> str | None:
        """Return the key that an event with this data (JSON) gets, or None if there is none in it."""
        value: Any = decode_plain(data) if self.key else None
        for field in self.key:
            value = value.get(field) if isinstance(value, dict) else None
        return None if value is None else str(value)

    def problem(self, data: bytes) -> str | None:
        """Return why data (JSON) does not fit the model, or None if it does."""
        try:
            self.model.model_validate_json(data)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'data'}: {each['msg']}" for each in found)
        return None


class EventTypes:
    """The kinds of events that an app has declared, by their names."""

    def __init__(self) -> None:
        self._types: dict[str, EventType] = {}

    def declare(self, name: object, model: object, key: object) -> None:
        """Add a kind of event.

        Raises:
            DeclarationError: name, model or key cannot be what they are, or the name is declared already.
        """
        name = check_event_name("Engine.event", "name", name)
        where = f"event {name!r}"
        if name in self._types:
            raise DeclarationError(f"{where} is declared twice; an event has one model")
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise DeclarationError.of(where, "model", model, "give a subclass of pydantic.BaseModel")
        self._types[name] = EventType(name, model, _key_path(where, model, key))

    def checks(self) -> dict[str, Check]:
        """Return what judges the data of events, by their names."""
        return {name: kind.problem for name, kind in self._types.items()}

    def model(self, name: str) -> type[BaseModel] | None:
        """Return the model of an event's data, or None if none was declared."""
        kind = self._types.get(name)
        return None if kind is None else kind.model

    def message(self, event: Event[Any], id: str | None = None) -> Message:
        """Return an event as a message for the events topic; ``id`` is its id if it has none of its own.

        Raises:
            ValueError: its data does not fit its model, or is no JSON object, or is too large.
        """
        data = data_json(event)
        kind = self._types.get(event.name)
        if kind is None:
            return message(event, data, event.key, event.id or id)
        problem = kind.problem(data)
        if problem is not None:
            raise ValueError(f"event {event.name!r}: its data does not fit {kind.model.__qualname__}: {problem}")
        return message(event, data, kind.key_of(data) if event.key is None else event.key, event.id or id)


def _key_path(where: str, model: type[BaseModel], key: object) -> tuple[str, ...]:
    if key is None:
        return ()
    allowed = "give a dotted path to a field of the data, such as 'data.order_id'"
    if not isinstance(key, str):
        raise DeclarationError.of(where, "key", key, allowed)
    root, *fields = key.split(".")
    if root != "data" or not fields or not all(field.isidentifier() for field in fields):
        raise DeclarationError.of(where, "key", key, allowed)
    known = {field.alias or name for name, field in model.model_fields.items()}
    if fields[0] not in known and model.model_config.get("extra") != "allow":
        problem = f"{model.__qualname__} has no field {fields[0]!r}; {suggestion(fields[0], known)}"
        raise DeclarationError.of(where, "key", key, problem)
    return tuple(fields)
