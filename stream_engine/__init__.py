"""A Kafka-native durable workflow engine: functions on events, steps that survive crashes, replay by rewinding the log."""

import importlib
from typing import Any

from stream_engine.sdk.cancelling_events import CancelOn
from stream_engine.sdk.context import Context, SyncContext
from stream_engine.sdk.declaration import function
from stream_engine.sdk.engine import Engine
from stream_engine.sdk.errors import (
    DeclarationError,
    InvokeError,
    NonRetriableError,
    RetryAfterError,
    RunCancelled,
    RunFailed,
    SharedRunError,
    StepError,
)
from stream_engine.sdk.events import Event
from stream_engine.sdk.function import Function
from stream_engine.sdk.gathering import Batch, Debounce
from stream_engine.sdk.handle import RunHandle, SyncRunHandle
from stream_engine.sdk.limits import Concurrency, RateLimit, Throttle, Timeouts
from stream_engine.sdk.priority import Priority
from stream_engine.sdk.retry import Retry
from stream_engine.sdk.scope import CurrentStep, current_step
from stream_engine.sdk.singleton import Singleton
from stream_engine.sdk.transport import Transport, set_transport_factory
from stream_engine.sdk.triggers import Cron, On

__all__ = [
    "Batch",
    "CancelOn",
    "Concurrency",
    "Context",
    "Cron",
    "CurrentStep",
    "Debounce",
    "DeclarationError",
    "Engine",
    "Event",
    "Function",
    "InvokeError",
    "NonRetriableError",
    "On",
    "Priority",
    "RateLimit",
    "Retry",
    "RetryAfterError",
    "RunCancelled",
    "RunFailed",
    "RunHandle",
    "SharedRunError",
    "Singleton",
    "StepError",
    "SyncContext",
    "SyncRunHandle",
    "Throttle",
    "Timeouts",
    "current_step",
    "function",
]


def _kafka(app: str, events_topic: str) -> Transport:
    # Loaded when something is first sent: declaring and testing functions needs no Kafka client.
    transport: Transport = importlib.import_module("stream_engine.shell.client").KafkaTransport(app, events_topic)
    return transport


set_transport_factory(_kafka)


def __getattr__(name: str) -> Any:
    # Only tests need it, and they should not have to import it by itself.
    if name == "testing":
        return importlib.import_module("stream_engine.testing")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
