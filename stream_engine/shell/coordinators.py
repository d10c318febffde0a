"""Asking the broker that coordinates a group, which may be away."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from stream_engine.shell.trouble import ANSWER_SECONDS

_A = TypeVar("_A")
_T = TypeVar("_T")
_NEVER_SECONDS: Final = 3_600.0
"""When the client itself gives up on a question: when it has been let go of long since.

A client that finds no coordinator in the time that it was given ends the process, where the broker that coordinated is restarted or lost
(librdkafka 2.16: it takes back a reference that it never had, and asserts so in rd_kafka_enq_once_del_source_return).
"""


def coordinated(
    ask: Callable[..., Mapping[Any, Future[_T]]], about: Sequence[_A], seconds: float = ANSWER_SECONDS
) -> _T:
    """Return the answer to one of an administration client's questions about a single group.

    After a question that was not answered, the client still waits for it: who asks again and again takes a new client.

    Raises:
        KafkaException: Kafka refuses, or does not answer in so many ``seconds``: then its name is ``_TIMED_OUT``.
    """
    [future] = ask(about, request_timeout=_NEVER_SECONDS).values()
    try:
        return future.result(seconds)
    except TimeoutError:
        text = f"the broker that coordinates the group has not answered within {seconds:g} s"
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, text)) from None  # noqa: SLF001 - the client's name for it
