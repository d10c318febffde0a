"""Expressions: what they give, what they refuse, and what each refusal says."""

import json
from typing import Any

import pytest

from stream_engine.core.expressions.expression import (
    LONGEST,
    STEPS,
    AbsentError,
    EvaluationError,
    ExpressionError,
    compile_expression,
)
from stream_engine.core.expressions.scope import Scope
from stream_engine.core.records.journal import Event

DATA = {
    "total": 150,
    "whole": 150.0,
    "half": 1.5,
    "text": "150",
    "plan": "enterprise",
    "none": None,
    "paid": True,
    "items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}],
    "tags": ["x", 1, True],
    "merchant": {"id": "m1"},
    "great": 2**70,
    "snow": "☃\n",
    "long": "x" * 1_000,
    "empty": "",
}


def scope(data: Any = DATA) -> Scope:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Scope(Event("order/placed", "id:1", "1", 1_700_000_000_000, 0, "events", 0, 7, raw))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("event.name", "order/placed"),
        ("event.ts + 1", 1_700_000_000_001),
        (" event.data.total ", 150),
        ("event . data . total", 150),
        ("event.data.merchant['id']", "m1"),
        ("event.data.plan == 'enterprise' ? 120 : 0", 120),
        ("event.data.missing == 1 || event.data.total > 100", True),
        ("has(event.data.missing) ? 1 : 2", 2),
        ("event.data.items.exists(item, item.n > 1)", True),
        ("event.data.items.all(event_, event_.n > 1)", False),
        ("'.map(event' + event.data.text", ".map(event150"),
        (r"r'\d' + event.data.text", r"\d150"),
        ("event.data.great", float(2**70)),
        ("event.data.great > 1.0", True),
        ("event.data.plan.matches('^ent.*e$')", True),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert compile_expression(text).value(scope()) == value


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("event.data.total > 100", True),
        ("event.data.total > 100.5", True),
        ("event.data.paid", True),
        ("event.data.missing", False),
        ("event.data.missing > 1", False),
        ("event.data.none.deeper == 1", False),
        ("event.data.plan.deeper", False),
        ("event.data.tags[7] == 1", False),
        ("!has(event.data.missing)", True),
        ("event.data.total == '150'", False),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    assert compile_expression(text).condition(scope()) is holds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("event.data.total", "a condition is true or false, and this is int 150"),
        ("event.data.none", "a condition is true or false, and this is null"),
        ("event.data.total / 0 == 1", "divide by zero"),
        ("event.data.total > 'a'", "No matching overloads"),
        ("event.data.total && true", "No matching overloads"),
        ("event.data.plan.matches('(')", "invalid regular expression"),
    ],
)
def test_a_condition_that_fails_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(EvaluationError, match=reason):
        compile_expression(text).condition(scope())


@pytest.mark.parametrize(
    ("text", "key", "shown"),
    [
        ("event.data.total", "150", "150"),
        ("event.data.whole", "150", "150"),
        ("event.data.text", '"150"', "150"),
        ("event.data.half", "1.5", "1.5"),
        ("-0.0", "0", "0"),
        ("event.data.paid", "true", "true"),
        ("'true'", '"true"', "true"),
        ("event.data.tags", '["x",1,true]', '["x",1,true]'),
        ("[]", "[]", "[]"),
        ("event.data.empty", '""', '""'),
        ("event.data.snow", '"☃\\n"', '"☃\\n"'),
        ("event.data.long", f'"{"x" * 1_000}"', "x" * 199 + "…"),
        ("9223372036854775807u", "9223372036854775807", "9223372036854775807"),
    ],
)
def test_keys(text: str, key: str, shown: str) -> None:
    assert compile_expression(text).key(scope()) == (key, shown)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("event.data.missing", "there is no field 'missing' in this event"),
        ("(event.data.missing)", 'Key not found in map : "missing"'),
        ("event.data.none", "a key is text, a number, true or false, or a list of these, and this is null"),
        ("event.data.merchant", "this is dict"),
        ("event.data.items", "this is dict"),
        ("[[1]]", r"this is list \[1\]"),
        ("event.data.great", "a number as large as float .* is no key; send it as text"),
        ("1.0 / 0.0", "this is float inf"),
        ("duration('1h')", "this is timedelta"),
    ],
)
def test_a_key_that_fails_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(EvaluationError, match=reason):
        compile_expression(text).key(scope())


def test_numbers() -> None:
    assert compile_expression("event.data.half * 2.0").number(scope()) == 3
    for text in ("event.data.text", "event.data.paid", "0.0 / 0.0"):
        with pytest.raises(EvaluationError, match="it must give a number"):
            compile_expression(text).number(scope())
    with pytest.raises(AbsentError):
        compile_expression("event.data.missing").number(scope())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty; write for example event.data.id"),
        (
            "event.data.total ==",
            "column 20: Syntax error: it ends too early: a value is missing; write for example event",
        ),
        ("event.data.total ==\n 1 1", "line 2, column 4: Syntax error: '1' cannot stand here: an operator is missing"),
        (
            "event..x",
            r"column 7: Syntax error: '\.\.' cannot stand here: a dot is followed by the name of a field; write",
        ),
        ("event.", r"column 7: Syntax error: '\.' cannot stand here: a dot is followed by the name of a field"),
        (
            "event.data.1x",
            r"column 11: Syntax error: '\.1' cannot stand here: a dot is followed by the name of a field",
        ),
        ("event.data[1", r"column 13: Syntax error: '\]' is missing; write for example event\.data\.total > 100"),
        ("[1", r"it ends too early: '\]' or ',' is missing"),
        ("event.data.x == 'abc", "the text that begins with 'abc has no end"),
        ("event.data.x == 1;", "column 18: Syntax error: ';' is no part of an expression; write for example"),
        ("event.data.x = 1", r"column 14: Syntax error: '=' is no part of an expression; CEL has && \|\| ! =="),
        ("event.data.x & event.data.y", r"'&' is no part of an expression; CEL has && \|\| ! =="),
        ("data.total > 1", r"and CEL's functions \(write event\.data\.total\?\)"),
        ("data.total", "column 5: undeclared reference to 'data.total'; there are event, and CEL's functions"),
        ("now()", "column 4: undeclared reference to 'now'"),
        ("async_event.data.x == 1", "undeclared reference to 'async_event.data.x'; there are event, and"),
        ("1 == 'a'", "column 3: found no matching overload for '_==_' applied to '\\(int, string\\)'"),
        ("(" * 50 + "1" + ")" * 50, "nested too deep"),
        ("1" + " + 1" * 100, "too many operators in a row"),
        ("1" * (LONGEST + 1), "it has 1001 characters; at most 1000 are allowed"),
        ("event.data.items.map(i, i.n)", "column 18: map is not allowed, because it may take very long"),
        ("event.data.items.filter(i, i.n > 1) == []", "filter is not allowed"),
        ("event.data.items.exists(i, i.tags.all(t, t > 1))", "column 35: all may not stand within another"),
        ("event.data.items.exists(i, i.n == event.data.n)", "compared with fixed values, and not with event"),
        ("event.total > 100", "column 1: event has name, id, ts and data, and no total: write event.data.total"),
        ("1 == 1 && event.key == 'a'", "column 11: event has name, id, ts and data, and no key"),
        ("event.data.tags.exists(t, t.matches('x'))", "column 29: matches may not stand within all, exists"),
        ("event.data.plan.matches(event.data.text)", "column 17: a pattern is fixed, because one from an event"),
        ("event.data.plan.matches('a' + 'b')", "a pattern is fixed"),
        ("matches(event.data.plan, 'a')", r"write event.data.x.matches\('...'\)"),
        ("event.data.plan.matches('(a{1,10}){2}')", "may not repeat a group by count, nor parts more than 200 times"),
        ("event.data.plan.matches('a{150}b{20,51}')", "may not repeat a group by count"),
        ("event.data.a == 1 and event.data.b == 2", r"CEL has && \|\| ! == null true false"),
        ("event.data.a == None", r"CEL has && \|\| ! == null true false"),
        ("event.data.p ? 1 : 0.5", "behind the colon is of one type, as in x \\? 1.0 : 0.5"),
        ("event.data.x.contains()", "undeclared reference to 'contains'; .* CEL's functions with their own arguments"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_compiled(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError, match=reason):
        compile_expression(text)


@pytest.mark.parametrize(
    "text", [r"event.data.text.matches('^[0-9]{3}$')", "event.data.plan == 'event.total'", "event.size() == 4"]
)
def test_what_looks_like_these_and_is_none(text: str) -> None:
    assert isinstance(compile_expression(text).condition(scope()), bool)


def test_a_nul_never_makes_two_texts_one() -> None:
    texts = ({"x": "a\0b", "y": 1}, {"x": "a\0c", "y": 1})
    assert len({compile_expression("event.data.x").key(scope(data)) for data in texts}) == 2
    for text in (
        "(event.data.x)",
        "event.data.exists(key, key == 'x') ? 1 : 2",
        "event.data['y']",
        "event.data.x.size() + 1",
    ):
        with pytest.raises(EvaluationError, match="it looks at a text with a NUL character"):
            compile_expression(text).key(scope(texts[0]))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("event.data.y + 1", 2),
        ("event . data // as it is\n . y == 1 && event.name == 'order/placed'", True),
        ("has(event.data.y) && !has(event.data.z)", True),
        ("event.data.in_.y", 3),
        ("event.data.in_.y + event.data.in_.z", 7),
        ("event.data.missing == 1", None),
        ("event.data.y.deeper == 1", None),
        ("event.data.great > 1.0", True),
        ("event.data.text.startsWith('event.data.x')", True),
    ],
)
def test_a_nul_that_an_expression_does_not_look_at_does_no_harm(text: str, value: Any) -> None:
    inside = {"y": 3, "z": 4, "n": ["a\0b"]}
    data = {"x": "a\0b", "y\0": 5, "y": 1, "in_": inside, "great": 2**70, "text": "event.data.x"}
    if value is None:
        assert not compile_expression(text).condition(scope(data))
    else:
        assert compile_expression(text).value(scope(data)) == value


@pytest.mark.parametrize("deep", ["[" * 700 + "1" + "]" * 700, '{"a":' * 700 + "1" + "}" * 700])
@pytest.mark.parametrize("what", ["condition", "key", "number"])
def test_a_value_that_is_nested_deep_is_an_error_as_another_one_is(deep: str, what: str) -> None:
    data = f'{{"deep":{deep},"great":{2**70},"n":7}}'.encode()
    for text in ("event.data.deep", "(event.data.deep)", "event.data.great > event.data.n"):
        with pytest.raises(EvaluationError):
            getattr(compile_expression(text), what)(scope(data))
    assert compile_expression("event.data.n").number(scope(data)) == 7


def test_two_events() -> None:
    names = frozenset({"event", "async_event"})
    one = Event("a", "id:1", "1", 0, 0, "events", 0, 7, b'{"id":1}')
    other = Event("b", "id:2", "2", 0, 0, "events", 0, 8, b'{"id":1.0}')
    expression = compile_expression("event.data.id == async_event.data.id", names)
    assert expression.condition(Scope(one, other))


def test_a_nul_in_one_of_two_events_is_of_no_matter_to_what_looks_at_the_other() -> None:
    names = frozenset({"event", "async_event"})
    one = Event("a", "id:1", "1", 0, 0, "events", 0, 7, b'{"id":1,"x":"a\\u0000b"}')
    other = Event("b", "id:2", "2\0", 0, 0, "events", 0, 8, b'{"id":1,"y":["\\u0000"]}')
    for text in ("event.data.id == async_event.data.id", "async_event.data.id == 1", "1 == 1"):
        assert compile_expression(text, names).condition(Scope(one, other))
    for text in ("event.data.id == 1 && async_event.id == '2'", "'b' in async_event.data.y", "event == async_event"):
        with pytest.raises(EvaluationError, match="it looks at a text with a NUL character"):
            compile_expression(text, names).condition(Scope(one, other))


def test_what_it_returns_is_known_as_far_as_it_can_be() -> None:
    texts = {"event.data.x": "dyn", "event.data.x > 1": "bool", "1": "int", "'a'": "string", "[1]": "list<int>"}
    assert {text: compile_expression(text).returns for text in texts} == texts


def test_an_evaluation_goes_through_so_many_elements() -> None:
    expression = compile_expression("event.data.exists(i, i == -1)")
    assert not expression.condition(scope([0] * (STEPS - 1)))
    with pytest.raises(EvaluationError, match="it goes through more than 10000 elements of this event"):
        expression.condition(scope([0] * (STEPS + 1)))


@pytest.mark.parametrize("raw", [b'{"a":"\\ud800"}', b"{" * 5, b'{"a":' * 20_000 + b"1" + b"}" * 20_000])
def test_data_that_cannot_be_read_is_an_error_and_not_an_absent_field(raw: bytes) -> None:
    with pytest.raises(EvaluationError, match="the data of the event cannot be read"):
        compile_expression("event.data.a == 1").condition(scope(raw))
