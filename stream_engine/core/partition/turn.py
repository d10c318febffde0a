"""What one group of decisions works on, and what it brings forth."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stream_engine.core.functions.catalogue import FunctionSpec
from stream_engine.core.functions.flow import ANY_TIME, PLAIN, Cron, Flow, Timeouts
from stream_engine.core.functions.pausing import PausedFunctions
from stream_engine.core.partition.dismissed import Dismissed
from stream_engine.core.partition.halted import Halted
from stream_engine.core.partition.outbox import Parcels, commands_queue, foreign_queue, next_number, post
from stream_engine.core.partition.places import Places
from stream_engine.core.partition.reached import Reached
from stream_engine.core.partition.room import UNLIMITED, Room
from stream_engine.core.partition.state import State
from stream_engine.core.partition.timers import Timers
from stream_engine.core.partition.waiting import Waiting
from stream_engine.core.records.history import HistoryRecord, weight
from stream_engine.core.records.journal import FIRST, Event, Record
from stream_engine.core.records.requests import Command
from stream_engine.core.records.tables import TIMERS, Outgoing, Run, Step, Timer
from stream_engine.core.records.wanted import Sender

FULL_BYTES = 128 * 1024
"""When a record holds this much, the rest waits for the next: inputs, timers, and what one input does for many. Each may add up to twice as much."""


class Execute(Record, frozen=True):
    """Run a function from the top; its recorded steps return at once, in the order that they were recorded in."""

    run_id: str
    run: Run
    event: Event
    steps: dict[str, Step]
    events: tuple[Event, ...] = ()
    """All of them, where the run has several."""


class Deliver(Record, frozen=True):
    """A step of a run that is being executed has this outcome."""

    run_id: str
    step_id: str
    step: Step


class Attempt(Record, frozen=True):
    """A step of a run that is being executed is to be tried again; ``attempt`` counts from 0."""

    run_id: str
    step_id: str
    attempt: int


class Release(Record, frozen=True):
    """Stop executing a run: it sleeps, or it ended."""

    run_id: str


class Stop(Record, frozen=True):
    """Stop executing a run that is cancelled, and report when all of its code has stopped."""

    run_id: str


Effect = Execute | Deliver | Attempt | Release | Stop


class Function(Record, frozen=True):
    """What a decision must know of a function of the app: its versions, the current one first, and its handlers."""

    id: str
    versions: tuple[str, ...]
    on_failure: str | None = None
    flow: Flow = PLAIN
    crons: tuple[Cron, ...] = ()
    on_cancel: str | None = None
    timeouts: Timeouts = ANY_TIME


@dataclass(frozen=True)
class Rules:
    """What decisions go by that is not in the state: the app's name, its functions, the numbers of the deployment, the room.

    ``paused`` has the functions that are not to be called now, ``halted`` the replays of which nothing more is to begin. ``deduplicate_for`` is in milliseconds; ``checkpoint_bytes`` is how long the journal grows at least between checkpoints.
    When a record has ``record_bytes``, the rest waits for the next. ``events_topic`` is where ticks are sent, ``control_topic`` where
    lanes are asked for events that are waited for, ``runs_again`` says whether a replay has a run of its own that sends what another run
    has sent, as far as that is known, ``in_force`` what the catalogue in force says of its functions, ``state_id`` is Kafka's id of the topic of snapshots. ``room`` is how many runs may be executed at a time; the partitions that a worker leads share it.
    """

    app: str
    functions: dict[str, Function]
    partitions: int
    commands_topic: str
    source: str
    partition: int
    deduplicate_for: int = 24 * 3_600_000
    checkpoint_bytes: int = 16 * 1024 * 1024
    record_bytes: int = FULL_BYTES
    events_topic: str = ""
    control_topic: str = ""
    state_id: str = ""
    room: Room = field(default_factory=lambda: Room(UNLIMITED))
    paused: PausedFunctions = field(default_factory=PausedFunctions)
    halted: Halted = field(default_factory=Halted)
    in_force: Callable[[], Mapping[str, FunctionSpec]] = dict
    runs_again: Callable[[str, Sender], bool] = lambda replay_id, sender: False  # noqa: ARG005 - where nothing is replayed


@dataclass
class Live:
    """A run that is being executed in this term: its header, its event, and what is known of its steps.

    ``kept`` has all steps that the state holds, ``recorded`` those that are final, ``pending`` those that a timer will wake.
    ``signals`` counts the outcomes handed to the execution, by which a wish to sleep is recognised as out of date. ``taken`` are the identities of the
    events that it has waited for and got, in that order, or after a takeover in any.
    """

    run: Run
    event: Event
    kept: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    signals: int = 0
    taken: dict[str, None] = field(default_factory=dict)


@dataclass
class Turn:
    """One group of decisions: the state that it reads and changes, journal time, and what it says to the world outside.

    ``resumes`` are runs to be executed, and ``local`` are commands to this very partition, which are decided upon before the turn ends.
    ``forget`` and ``expire`` have keys, and when they are to be deleted; those of the latter only if their entries say so then.
    ``owed`` is about how many bytes the record grows by when ``local`` is decided upon.
    ``left`` has the function of each run whose execution ends; once the record counts, there is room for another one.
    ``asks`` says that it is to be found out up to when all events are routed, because waits have come to their ends.
    ``format`` is the newest of the state and of what has been taken: what comes of them may hold whatever they held.
    ``reached`` is what the term remembers of searches.

    Attributes:
        halts, paused, in_force: what the rules say of halted replays, paused functions and the functions of the catalogue in force, taken once: another thread may
            replace it there at any time, and what one decision goes by does not change in its midst.
    """

    state: State
    timers: Timers
    waiting: Waiting
    dismissed: Dismissed
    places: Places
    live: dict[str, Live]
    rules: Rules
    now: int
    history: list[HistoryRecord] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    sends: list[bytes] = field(default_factory=list)
    forget: list[tuple[int, bytes]] = field(default_factory=list)
    resumes: list[str] = field(default_factory=list)
    local: deque[Command] = field(default_factory=deque)
    left: list[str] = field(default_factory=list)
    expire: list[tuple[int, bytes]] = field(default_factory=list)
    owed: int = 0
    asks: bool = False
    format: int = FIRST
    reached: Reached = field(default_factory=Reached)
    _weighed: int = 0
    _history_bytes: int = 0

    def __post_init__(self) -> None:
        self._parcels = Parcels(self.state)
        self.halts = self.rules.halted.now
        self.paused = self.rules.paused.ids
        self.in_force = self.rules.in_force()

    @property
    def is_full(self) -> bool:
        """Whether what is not decided yet is to wait for the next record."""
        return self.size > self.rules.record_bytes

    @property
    def size(self) -> int:
        """About how many bytes the record takes that this turn will be."""
        while self._weighed < len(self.history):
            self._history_bytes += weight(self.history[self._weighed])
            self._weighed += 1
        return self.state.size + self._history_bytes + self._parcels.size + self.owed

    def load(self, run_id: str, live: Live) -> None:
        """Have a run executed."""
        self.live[run_id] = live
        self.rules.room.take(live.run.function)

    def unload(self, run_id: str) -> Live | None:
        """Have a run executed no longer; return what was known of it, or None if it was not."""
        live = self.live.pop(run_id, None)
        if live is not None:
            self.left.append(live.run.function)
        return live

    def unload_at_once(self, run_id: str) -> None:
        """Undo a `load` that nothing outside of this turn will hear of."""
        self.rules.room.give(self.live.pop(run_id).run.function)

    def set_timer(self, at: int, timer: Timer) -> None:
        """Have a timer fire at a time (milliseconds since the epoch), or at once if that is past."""
        key = TIMERS.timed_key(at, timer.kind, timer.run, timer.step)
        self.state.put(key, timer)
        self.timers.add(key)

    def send(self, queue: str, message: Outgoing) -> None:
        """Put a message into an outbox queue."""
        self.sends.append(post(self.state, queue, next_number(self.state, queue), message))

    def command(self, partition: int, command: Command) -> None:
        """Have the leader of a partition decide upon a command; this one does so in the same turn."""
        self.command_to(self.rules.commands_topic, partition, command)

    def command_to(self, topic: str, partition: int, command: Command) -> None:
        """The same, of an app that takes commands from another topic, too."""
        rules = self.rules
        own = topic == rules.commands_topic
        if own and partition == rules.partition:
            self.local.append(command)
            return
        self._parcels.add(
            commands_queue(partition) if own else foreign_queue(topic, partition), topic, partition, command
        )

    def later(self, command: Command) -> None:
        """Have this partition decide upon a command with a later record: the rest of what is too much for one."""
        rules = self.rules
        self._parcels.add(commands_queue(rules.partition), rules.commands_topic, rules.partition, command)

    def pack(self) -> None:
        """Put the commands to other partitions into the outbox, once everything is decided that goes into the record."""
        self.sends += self._parcels.post(self.rules.source, self.format)
