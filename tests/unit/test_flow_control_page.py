"""What docs/flow-control.md says is what the code does."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import stream_engine
from stream_engine import (
    Batch,
    Concurrency,
    Context,
    Cron,
    Debounce,
    DeclarationError,
    Engine,
    Priority,
    RateLimit,
    Singleton,
    Throttle,
)
from stream_engine.core.expressions.expression import LONGEST, STEPS
from stream_engine.core.functions import match
from stream_engine.core.records.journal import Event
from stream_engine.sdk.flow_options import FlowOptions

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "flow-control.md").read_text("utf-8")
CORE = "".join(path.read_text("utf-8") for path in sorted((ROOT / "stream_engine" / "core").rglob("*.py")))

OPTIONS: dict[str, Callable[[], Any]] = {
    "idempotency": lambda: "event.id",
    "debounce": lambda: Debounce("1s"),
    "batch": lambda: Batch(10, "1s"),
    "rate_limit": lambda: RateLimit(1, "1s"),
    "singleton": Singleton,
    "throttle": lambda: Throttle(1, "1s"),
    "concurrency": lambda: Concurrency(1),
    "priority": lambda: Priority(1),
    "cancel_on": lambda: stream_engine.CancelOn("b", match="data.account_id"),
    "cron": lambda: Cron("* * * * *"),
}


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(title: str) -> list[list[str]]:
    rows = [line for line in section(title).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]
    return [cells[0], *cells[2:]]


def declare(*names: str) -> Engine:
    async def body(ctx: Context) -> None: ...

    engine = Engine("shop")
    options = {"on" if name == "cron" else name: OPTIONS[name]() for name in names}
    given: Any = {"on": "a"} | options
    engine.function("f", **given)(body)
    return engine


def test_its_example_runs() -> None:
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, "flow-control.md", "exec"), names)
    assert [function.id for function in names["engine"].functions] == ["sync-contact"]


def test_every_option_is_in_it() -> None:
    assert [*FlowOptions.__annotations__, "cron"] == [*OPTIONS]
    head = table("Which go together")[0]
    assert head == ["", *OPTIONS]


def test_the_order_is_that_of_the_gates() -> None:
    event = Event("a", "id:1", "1", 0, 0, "events", 0, 0, b"{}")
    order: list[str] = []
    for gathering in ("debounce", "batch"):
        names = ["idempotency", gathering, "rate_limit", "throttle", "concurrency"]
        with_singleton = [*names, "singleton"] if gathering == "debounce" else names
        [asked] = declare(*with_singleton).catalogue().match(event, 4).asked
        kinds = [gate.kind for gate in asked.gates]
        order += kinds if not order else [kind for kind in kinds if kind not in order]
    rows = [row[0] for row in table("In which order they act")[1:]]
    shown = [row for row in rows if row in order]
    order.remove("batch")
    assert shown == [*order[:2], "batch", *order[2:]]


def test_the_words_are_those_that_history_uses() -> None:
    words = {word for row in table("In which order they act")[1:] for word in re.findall(r"`([a-z-]+)`", row[3])}
    assert words == {
        "dead-lettered", "duplicate", "delayed", "queued", "coalesced", "batched", "rate-limited", "skipped", "cancelled",
    }  # fmt: skip
    assert [word for word in words if f'"{word}"' not in CORE] == []


@pytest.mark.parametrize("one", OPTIONS)
@pytest.mark.parametrize("other", OPTIONS)
def test_what_goes_together(one: str, other: str) -> None:
    head, *rows = table("Which go together")
    cell = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}[one][other]
    if one == other:
        assert cell == ""
    elif cell == "yes":
        declare(one, other)
    else:
        assert cell == "x"
        with pytest.raises(DeclarationError):
            declare(one, other)


def test_what_can_be_said() -> None:
    for name, signature in table("The options")[1:]:
        parameters = inspect.signature(getattr(stream_engine, name.strip("`"))).parameters.values()
        found = [
            each.name if each.default is each.empty else f"{each.name}={each.default!r}".replace("'", '"')
            for each in parameters
        ]
        assert ", ".join(found) == signature.strip("`"), name


def test_the_reasons_of_dead_letters() -> None:
    reasons = re.findall(r"^\| `(invalid-[a-z]+)`", section("Expressions"), re.MULTILINE)
    assert sorted(reasons) == sorted(set(re.findall(r'"(invalid-[a-z]+)"', inspect.getsource(match))))


def test_its_numbers() -> None:
    assert f"at most {LONGEST} characters" in PAGE
    assert f"at most {STEPS} elements" in PAGE


def test_overlaps() -> None:
    words = re.findall(r"^\| `(\w+)`", section("Cron"), re.MULTILINE)
    for word in words:
        Cron("* * * * *", overlap=word)
    assert sorted(words) == ["allow", "cancel", "queue", "skip"]
