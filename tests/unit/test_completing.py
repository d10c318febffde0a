"""Completions that are refused before anything is sent: what is said of their tokens is true."""

from pathlib import Path

import msgspec
import pytest

from stream_engine.core.records.journal import Event
from stream_engine.core.routing.callback_event import ANOTHER_APP, COMPLETED_EVENT, FORGED, completions
from stream_engine.core.routing.callback_token import Named, token_of
from stream_engine.core.routing.receive import Message, Rejection
from stream_engine.shell import callback_routes
from stream_engine.shell.endpoint import Request
from stream_engine.shell.operating import completing
from stream_engine.shell.operating.completing import Completing, Outcome
from stream_engine.shell.settings import Settings

SECRETS = {"shop": b"s" * 32, "stock": b"t" * 32}
OF_SHOP, OF_STOCK = (token_of(secret, Named(app, "mfrggzdf-0", "c")) for app, secret in SECRETS.items())


class _Published:
    """What workers have published, where there is no Kafka."""

    def __init__(self, _: Settings, topic: str) -> None:
        self._secret = SECRETS.get(topic.removesuffix(".control"))
        self.control = self

    def values(self, prefix: str) -> dict[str, bytes]:
        """Return the secret, as a worker writes it."""
        return {} if self._secret is None else {f"{prefix}7": msgspec.json.encode({"key": self._secret})}


@pytest.fixture(autouse=True)
def _no_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completing, "Published", _Published)


def _refused(token: str, app: str | None) -> Outcome:
    with Completing(Settings(Path(), bootstrap_servers="kafka:1"), app) as one:
        return one.complete(token, b"1", "cli", 1.0)


@pytest.mark.parametrize(
    ("token", "app", "disposition", "detail"),
    [
        ("x", None, FORGED, "this is no token of a callback"),
        (OF_SHOP, "stock", ANOTHER_APP, "names app 'shop', and only callbacks of app 'stock' are completed here"),
        (token_of(b"u", Named("till", "mfrggzdf-0", "c")), None, FORGED, "which has given out none at kafka:1"),
        (OF_SHOP[:-3] + "xyz", None, FORGED, "the token is none that app 'shop' at kafka:1 has given out"),
        (OF_SHOP[:-3] + "xyz", "shop", FORGED, "the token is none that app 'shop' at kafka:1 has given out"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_the_token(
    token: str, app: str | None, disposition: str, detail: str
) -> None:
    outcome = _refused(token, app)
    assert outcome.disposition == disposition
    assert detail in outcome.detail


def test_an_endpoint_sends_whoever_has_a_token_of_another_app_there() -> None:
    with Completing(Settings(Path(), bootstrap_servers="kafka:1"), "stock") as one:
        [route] = callback_routes.routes(one)
        answer = route.answer(Request({"token": OF_SHOP}, b"1"))
    assert (answer.status, answer.document["reason"]) == (421, ANOTHER_APP)


@pytest.mark.parametrize(
    ("token", "detail"),
    [
        ("x", "this is no token of a callback: it is forged, or not all of it is there"),
        (OF_SHOP[:-3] + "xyz", "the token is none that app shop has given out"),
        (OF_STOCK, None),
    ],
)
def test_an_event_with_a_token_that_nobody_can_read_is_told_from_one_of_another_app(
    token: str, detail: str | None
) -> None:
    raw = f'{{"token":"{token}"}}'.encode()
    message = Message("both.events", "id", 0, 7, 5, None, raw)
    event = Event(COMPLETED_EVENT, "at:0/7", "0/7", 5, 5, "both.events", 0, 7, raw)
    judged = completions("shop", SECRETS["shop"], "shop.dead-letters")(message, event)
    assert judged == (None if detail is None else Rejection(FORGED, detail))
