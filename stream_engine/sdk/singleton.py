"""What users say about functions of which one run at a time is wanted."""

from dataclasses import dataclass
from typing import Literal

from stream_engine.core.functions import flow
from stream_engine.sdk import checks


@dataclass(frozen=True)
class Singleton:
    """One run at a time, from the moment that an event asks for it.

    Attributes:
        key: an expression, such as ``"event.data.account_id"``: one run for each of its values.
        mode: ``"skip"`` drops an event that comes while there is a run (``skipped``); ``"replace"`` cancels the run that is there.

    Raises:
        DeclarationError: a value is not allowed.
    """

    key: str | None = None
    mode: Literal["skip", "replace"] = "skip"

    def __post_init__(self) -> None:
        checks.key("Singleton", self.key)
        checks.word("Singleton", "mode", self.mode, ("skip", "replace"))

    def spec(self) -> flow.Singleton:
        """Return it as data."""
        return flow.Singleton(self.mode, self.key)
