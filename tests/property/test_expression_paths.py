"""A plain path is looked up without CEL; it has to make no difference."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_engine.core.expressions.expression import AbsentError, EvaluationError, Expression, compile_expression
from stream_engine.core.expressions.scope import Scope
from stream_engine.core.records.journal import Event

NAMES = ["a", "b", "_c", "size"]
FIELDS = [*NAMES, "a\0"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**66)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.just("a\0b")
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3)
)
Outcome = tuple[str, Any]


def outcome(expression: Expression, what: str, scope: Scope) -> Outcome:
    try:
        return "value", getattr(expression, what)(scope)
    except AbsentError:
        return "absent", None
    except EvaluationError:
        return "error", None


def typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return [typed(item) for item in value] if isinstance(value, list) else (type(value), value)


def at(data: Any, path: list[str]) -> Any:
    for field in path:
        data = data.get(field) if isinstance(data, dict) else None
    return data


def has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(has_nul, [*value, *value.values()]))
    return any(map(has_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value


# The first draw of text builds Hypothesis' table of characters, which takes its time on a fresh machine.
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.dictionaries(st.sampled_from(FIELDS), JSON), path=PATHS)
def test_a_path_has_the_same_outcome_as_in_cel(data: dict[str, Any], path: list[str]) -> None:
    text = ".".join(["event", "data", *path])
    event = Event("e", "id:1", "1", 0, 0, "events", 0, 0, msgspec.json.encode(data))
    fast, full = compile_expression(text), compile_expression(f"({text})")
    assert fast._path
    assert not full._path
    is_unfit = has_nul(at(data, path))
    for what in ("value", "condition", "key", "number"):
        one, other = outcome(fast, what, Scope(event)), outcome(full, what, Scope(event))
        assert (one[0], typed(one[1])) == (other[0], typed(other[1])) or (is_unfit and other == ("error", None)), what
