"""People outside of a simulated app: they complete callbacks whose tokens they were handed, and cancel runs; no worker's crash takes that away."""

import json
from functools import partial
from random import Random

from stream_engine.core.identity import partition_of
from stream_engine.core.records.journal import WRITES, encode
from stream_engine.core.records.requests import Cancel, Command, Commands, CompleteCallback
from stream_engine.core.routing.callback_event import COMPLETED_EVENT
from stream_engine.core.routing.callback_token import Named, token_of
from tests.simulation.kafka import Draft, SimKafka, Topics
from tests.simulation.schedule import MILLISECOND, Schedule

APP = "sim"
SECRET = b"what the tokens of callbacks are made with"

Callback = tuple[str, str]
"""The run and the step."""


class Outside:
    """Knows what was asked for.

    Attributes:
        completions: those that were sent for a callback, by their ids, in the order of the log, and when, by the broker's clock.
        by_events: the callbacks that are completed by events, which one after the other may be routed anew.
        timeouts: how long callbacks wait, in milliseconds, as far as they do not for ever.
        cancelled: the runs that somebody wanted to be cancelled, and since when, by the broker's clock.
    """

    def __init__(self, schedule: Schedule, kafka: SimKafka, topics: Topics) -> None:
        self.completions: dict[Callback, dict[str, int]] = {}
        self.by_events: set[Callback] = set()
        self.timeouts: dict[Callback, int] = {}
        self.cancelled: dict[str, int] = {}
        self._schedule = schedule
        self._kafka = kafka
        self._topics = topics
        self._sent = 0

    def handed_out(self, run_id: str, step_id: str, timeout: int | None) -> None:
        """Somebody is handed a token, and may do so more than once; one without a timeout is completed some time."""
        if (run_id, step_id) in self.completions:
            return
        self.completions[run_id, step_id] = {}
        if timeout is not None:
            self.timeouts[run_id, step_id] = timeout
        if Random(f"{run_id} {step_id}").random() < 0.4:
            self.by_events.add((run_id, step_id))
        random = self._schedule.random
        for _ in range(random.choice((1, 1, 2, 3) if timeout is None else (0, 1, 2))):
            after = random.choice((0, 5, 50, 500, 5_000)) * MILLISECOND + random.randrange(MILLISECOND)
            self._schedule.at(after, partial(self._complete, run_id, step_id))

    def cancel(self, run_id: str) -> None:
        """Somebody cancels a run."""
        self.cancelled.setdefault(run_id, self._kafka.clock_ms)
        self._command(run_id, Cancel(run_id, "nobody wants it", seek=True))

    def _complete(self, run_id: str, step_id: str) -> None:
        self._sent += 1
        name = f"c{self._sent}"
        at = self.completions[run_id, step_id][name] = self._kafka.clock_ms
        if (run_id, step_id) in self.by_events:
            self._event(name, token_of(SECRET, Named(APP, run_id, step_id)))
        else:
            self._command(run_id, CompleteCallback(run_id, step_id, f'"{name}"'.encode(), name, "test", at=at))

    def _event(self, name: str, token: str) -> None:
        value = json.dumps({"name": COMPLETED_EVENT, "id": name, "data": {"token": token, "data": name}})
        partition = Random(token).randrange(self._kafka.partitions(self._topics.events))
        self._kafka.land(self._topics.events, partition, Draft(value.encode()))

    def _command(self, run_id: str, command: Command) -> None:
        value = encode(Commands("", None, [(0, command)], WRITES))
        self._kafka.land(self._topics.commands, partition_of(run_id), Draft(value))
