"""An event to try an app with: made up from what the app declares, so that it can be pasted and works."""

import json
import shlex
from typing import Any

from pydantic import BaseModel, ValidationError

from stream_engine.core.functions.catalogue import RESERVED, WILDCARD
from stream_engine.sdk.engine import Engine

_VALUES = {"string": "text", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}


def command(engine: Engine) -> str | None:
    """Return a ``stream-engine send`` for an event that the app takes; None if its functions are only started directly."""
    triggers = [trigger for spec in engine.catalogue().functions.values() for trigger in spec.triggers]
    name = next((trigger for trigger in triggers if not trigger.startswith(RESERVED)), None)
    if name is None:
        return None
    name = name.replace(WILDCARD, "something")
    data = json.dumps(sample(engine.event_types.model(name)))
    return f"stream-engine send {shlex.quote(name)} {shlex.quote(data)} --app {engine.name} --wait"


def sample(model: type[BaseModel] | None) -> dict[str, Any]:
    """Return data that fits a model: its required fields; an empty object where there is no model, or it asks for more."""
    if model is None:
        return {}
    schema = model.model_json_schema()
    data = {name: _VALUES.get(schema["properties"][name].get("type")) for name in schema.get("required", [])}
    try:
        model.model_validate(data)
    except ValidationError:
        return {}
    return data
