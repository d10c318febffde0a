"""What a path and a condition mean: the rest of a condition holds, where events are compared, as the whole did where it was written."""

import pytest

from stream_engine.core.expressions.criterion import check_path, criterion
from stream_engine.core.expressions.expression import LONGEST, ExpressionError, compile_expression, over

SAME = "event.data.k==async_event.data.k"


@pytest.mark.parametrize(
    ("condition", "rest"),
    [
        (SAME, ""),
        (f"{SAME} && async_event.data.ok", "async_event.data.ok"),
        (f"async_event.data.ok // is it?\n && {SAME} // yes", "async_event.data.ok"),
        (f"{SAME} // the order\n && async_event.data.url == 'http://x'", "async_event.data.url == 'http://x'"),
        (f"{SAME} && (async_event.data.a || event.data.b)", "(async_event.data.a || event.data.b)"),
        (f"(({SAME}) && (async_event.data.a ? true : false))", "(async_event.data.a ? true : false)"),
        (f"{SAME} && (async_event.data.a && async_event.data.b)", "async_event.data.a && async_event.data.b"),
    ],
)
def test_the_rest_of_a_condition_is_one(condition: str, rest: str) -> None:
    found = criterion(None, condition)
    assert (found.own, found.path, found.if_) == ("data.k", "data.k", rest)
    assert found.needs_event == (" event.data.b" in rest)


def test_the_rest_of_a_condition_is_no_longer_than_that_may_be() -> None:
    condition = SAME
    while len(condition) < LONGEST - 30:
        condition += "&&async_event.data.x"
    found = criterion(None, condition)
    assert compile_expression(found.if_, over(needs_event=False)).returns == "bool"


@pytest.mark.parametrize("condition", [f"{SAME} && .event.data.ok", f"{SAME} && .event.data.x == async_event.data.x"])
def test_what_could_not_be_compiled_where_events_are_compared_is_refused(condition: str) -> None:
    with pytest.raises(ExpressionError, match="undeclared reference to"):
        criterion(None, condition)


@pytest.mark.parametrize("path", ["data.in", "data.null", "data" + ".x" * 40, "data." + "x" * LONGEST])
def test_a_path_that_nothing_could_look_up_is_refused(path: str) -> None:
    with pytest.raises(ExpressionError):
        check_path(path)
