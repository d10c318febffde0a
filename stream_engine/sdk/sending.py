"""Steps that send: their messages go to the outbox with the record of the step, so that neither is without the other."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict, TypeVar

from stream_engine.core.identity import idempotency_key
from stream_engine.core.partition.outbox import topic_queue
from stream_engine.core.records.tables import Outgoing
from stream_engine.sdk.client import listed
from stream_engine.sdk.codec import try_encode
from stream_engine.sdk.errors import StepUsageError
from stream_engine.sdk.events import Event, key_bytes
from stream_engine.sdk.middleware import surround
from stream_engine.sdk.names import check_topic
from stream_engine.sdk.run import Execution
from stream_engine.sdk.step import Sends, send_step

R = TypeVar("R")

ID_HEADER = "stream-engine-id"
"""The header of produced messages that is the same when a message is sent again."""

MOST_BYTES = 2 * 1024 * 1024
"""How much one step may send at most: it is recorded in one piece."""

_INTERNAL = ("commands", "journal", "state", "control", "history")


class Message(TypedDict, total=False):
    """A message for any topic. ``value`` is bytes, text, or what JSON can express; None, or none, is a tombstone."""

    key: str | bytes | int | None
    value: Any
    headers: Mapping[str, str | bytes] | None


async def send_events_step(execution: Execution, id: str, events: Event[Any] | Iterable[Event[Any]]) -> list[str]:
    """Send events to the app's events topic; return their ids."""

    async def make() -> tuple[list[str], Sends]:
        batch = _checked(id, listed, events)
        sends: list[tuple[str, Outgoing]] = []

        async def send() -> list[str]:
            run = execution.run
            # What a rerun sends is news, though its idempotency keys are those of the run before.
            key = idempotency_key(execution.run_id if run.rerun_of else run.root, id)
            ids = [event.id or f"{key}-{place}" for place, event in enumerate(batch)]
            sends[:] = [_event(execution, id, event, name) for event, name in zip(batch, ids, strict=True)]
            return ids

        ids = await surround(execution.host.middleware.sends, (batch,), send)()
        return ids, _bounded(id, sends)

    ids: list[str] = await send_step(execution, id, "send_event", make)
    return ids


async def produce_step(execution: Execution, id: str, topic: str, message: Message) -> None:
    """Produce a message to any topic but the engine's own."""

    async def make() -> tuple[None, Sends]:
        outgoing = _checked(id, _outgoing, execution, id, topic, message)
        await execution.host.topics.check(topic)
        return None, _bounded(id, [(topic_queue(topic), outgoing)])

    await send_step(execution, id, "produce", make)


def _outgoing(execution: Execution, step: str, topic: str, message: Message) -> Outgoing:
    unknown = message.keys() - Message.__annotations__
    if unknown:
        raise ValueError(f"produce: there is no {', '.join(sorted(unknown))}; there are key, value, headers")
    app = execution.host.app_name
    if check_topic("produce", "topic", topic) in {f"{app}.{name}" for name in _INTERNAL}:
        raise ValueError(f"produce: topic={topic!r} is one of the engine's own, which nobody else may write to")
    value = message.get("value")
    if isinstance(value, str):
        value = value.encode()
    elif value is not None and not isinstance(value, bytes):
        value = try_encode(value)
    headers = [(name, key_bytes(text) or b"") for name, text in (message.get("headers") or {}).items()]
    mark = (ID_HEADER, idempotency_key(execution.run.root, step).encode())
    return Outgoing(topic, None, key_bytes(message.get("key")), value, (*headers, mark, *execution.sent_by().headers))


def _event(execution: Execution, step: str, event: Event[Any], id: str) -> tuple[str, Outgoing]:
    host = execution.host
    message = _checked(step, host.event_types.message, event, id)
    return topic_queue(host.events_topic), Outgoing(
        host.events_topic, None, message.key, message.value, execution.sent_by().headers
    )


def _checked(step: str, make: Callable[..., R], *args: Any) -> R:
    """Return ``make(*args)``; what is wrong with the arguments will be wrong again, so it is not tried again."""
    try:
        return make(*args)
    except (TypeError, ValueError) as error:
        raise StepUsageError(f"step {step!r}: {error}") from error


def _bounded(step: str, sends: list[tuple[str, Outgoing]]) -> Sends:
    size = sum(len(message.value or b"") + len(message.key or b"") for _, message in sends)
    if size > MOST_BYTES:
        raise StepUsageError(f"step {step!r} sends {size:,} bytes; the limit is {MOST_BYTES:,}: use several steps")
    return tuple(sends)
