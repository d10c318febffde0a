"""A worker whose clients have lost their brokers for good ends; one whose Kafka is away, or slow now and then, does not."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from stream_engine.shell.errors import UserError
from stream_engine.shell.stranded import _STRANDED_LOOKS, Stranded


class Client:
    """Answers, or fails with an error."""

    def __init__(self, error: int | None = None) -> None:
        self.error = error

    def list_topics(self, topic: str, timeout: float) -> object:
        assert (topic, timeout > 0) == ("shop.commands", True)
        if self.error is not None:
            raise KafkaException(KafkaError(self.error))
        return None


def watching(new: Client, **own: Client) -> Stranded:
    def failed(error: BaseException) -> None:
        raise AssertionError(error)

    return Stranded(own, lambda: new, "shop.commands", failed)


@pytest.mark.parametrize("error", [KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN])
def test_a_client_that_nobody_answers_while_a_new_one_is_answered_ends_the_worker(error: int) -> None:
    looks = watching(Client(), commands=Client(error), journals=Client())
    for _ in range(_STRANDED_LOOKS - 1):
        looks.look()
    with pytest.raises(UserError, match=r"not to this worker's clients for commands: .* start the worker again"):
        looks.look()


def test_while_nobody_is_answered_a_worker_waits() -> None:
    new, own = Client(KafkaError._TRANSPORT), Client(KafkaError._TRANSPORT)
    looks = watching(new, commands=own)
    for _ in range(3 * _STRANDED_LOOKS):
        looks.look()
    new.error = None
    for _ in range(_STRANDED_LOOKS - 1):
        looks.look()
    own.error = None
    looks.look()
    own.error = KafkaError._TRANSPORT
    for _ in range(_STRANDED_LOOKS - 1):
        looks.look()


def test_what_else_may_fail_is_an_answer() -> None:
    looks = watching(Client(), commands=Client(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    for _ in range(3 * _STRANDED_LOOKS):
        looks.look()
