"""The thread on which all partitions of a worker are led.

One thread, because a decision is short and never waits: it takes what has arrived, decides, appends, and looks for
acknowledgements. While an append is under way, what arrives for the same partition gathers, so that a busy partition writes
few large records and an idle one writes at once.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty

from confluent_kafka import Producer

from stream_engine.core.partition.change import Take
from stream_engine.core.partition.room import Room
from stream_engine.core.partition.turn import Effect
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.errors import UserError
from stream_engine.shell.inbox import Inbox
from stream_engine.shell.leading.lead import MANY_UNTOLD, Lead, Process
from stream_engine.shell.leading.pace import Pace
from stream_engine.shell.leading.term import Term
from stream_engine.shell.leading.write_behind import WriteBehind
from stream_engine.shell.store import RocksStore, shared_memory

_log = logging.getLogger(__name__)
_ACK_POLL_SECONDS = 0.001
_TOLD_POLL_SECONDS = 0.02
_IDLE_SECONDS = 0.5
_LOOK_SECONDS = 0.005
_BUSY_SECONDS = 0.05
_ALL_SECONDS = 0.005
_INTAKE_SECONDS = 0.01
_RETRY_SECONDS = 0.5


class Leaders(threading.Thread):
    """Leads the partitions that are assigned; every public method may be called from any thread."""

    def __init__(self, folder: Path, room: Room, pace: Pace, failed: Callable[[BaseException], None]) -> None:
        super().__init__(name="leaders", daemon=True)
        self._folder = folder
        self._room = room
        self._pace = pace
        self._failed = failed
        self._inbox = Inbox()
        self._leads: dict[int, Lead] = {}
        self._reports: list[tuple[Lead, object, int | None]] = []
        self._effects: list[tuple[Term, list[Effect]]] = []
        self._memory = shared_memory()
        self._awake = False
        self._stopping = False
        self._retry_at = 0.0
        self._all_at = 0.0
        self._many_untold = False
        self._cycles = 0
        self._process: Process | None = None
        self.beat_at = monotonic()
        """When the thread last did its round; by the monotonic clock, in seconds."""

    def begin(self, process: Process) -> None:
        """Start the thread."""
        self._process = process
        self.start()

    def assign(self, partition: int) -> None:
        """Take the lead of a partition."""
        self._inbox.put(lambda: self._assign(partition))

    def follow(self, partitions: set[int]) -> None:
        """Keep a warm copy of these partitions, as far as they are not led, and of no others."""
        self._inbox.put(lambda: self._follow(partitions))

    def hand_over(self, partition: int) -> threading.Event:
        """Give up the lead of a partition on purpose, with what is running lent to this worker; return what is set then."""
        left = threading.Event()
        if self.is_alive():
            self._inbox.put(lambda: self._hand_over(partition, left))
        else:
            left.set()
        return left

    def revoke(self, partition: int) -> None:
        """Give up the lead of a partition as it is; returns at once."""
        self._inbox.put(lambda: self._revoke(partition))

    def arrived(self, partition: int, takes: list[Take]) -> None:
        """Hand over records of the commands topic."""
        self._inbox.put(lambda: self._arrived(partition, takes))

    def misplaced(self, partition: int) -> None:
        """Take that the commands which a partition asked for are not there any more."""
        self._inbox.put(lambda: self._misplaced(partition))

    def call(self, function: Callable[[], None]) -> None:
        """Have something called on the thread."""
        self._inbox.put(function)

    def wake(self) -> None:
        """See to it that the thread looks at the terms' reports soon."""
        if not self._awake:
            self._awake = True
            self._inbox.put(_nothing)

    def collect(self, term: Term, effects: list[Effect]) -> None:
        """Keep effects for the end of the cycle, when all are handed over at once; for the thread itself."""
        self._effects.append((term, effects))

    def note_report(self, lead: Lead, about: object, offset: int | None) -> None:
        """Keep a report for the end of the poll that delivers it; for the thread itself."""
        self._reports.append((lead, about, offset))

    def leading(self) -> set[int]:
        """Return the partitions that are led."""
        return {partition for partition, lead in list(self._leads.items()) if lead.leading}

    def stop(self, timeout: float) -> None:
        """Have everything acknowledged that is under way, give up all partitions, and end the thread."""
        self._inbox.put(self._stop)
        self.join(timeout)

    def run(self) -> None:
        """Lead, until told to stop."""
        try:
            while not self._stopping or self._unfinished():
                self._cycle()
        except UserError as error:
            self._failed(error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the leaders' thread failed")
            self._failed(error)
        finally:
            for partition in list(self._leads):
                self._revoke(partition)

    def _cycle(self) -> None:
        assert self._process is not None
        self.beat_at = monotonic()
        journal, deciding = self._process.journal, self._process.deciding
        self._wait(journal, self._process.outgoing)
        deciding.begin()
        began = looked_at = monotonic()
        self._follow_up()
        for lead in self._in_turn(began):
            if lead.turn(intake=monotonic() < began + _INTAKE_SECONDS):
                # What runs goes first: it is soon decided upon, and then there is time for more.
                self.wake()
            if monotonic() > looked_at + _LOOK_SECONDS:
                # What has been acknowledged meanwhile does not wait until everybody has had a turn.
                journal.poll(0)
                self._follow_up()
                looked_at = monotonic()
                # Who has had its turn already may go on with what has gathered.
                self.wake()
        self._follow_up()
        deciding.end()
        self._room.busy = self._pace.behind or self._many_untold or monotonic() > began + _BUSY_SECONDS
        if monotonic() > self._retry_at:
            self._retry_at = monotonic() + _RETRY_SECONDS
            for lead in self._leads.values():
                lead.retry()

    def _follow_up(self) -> None:
        """Let what has been acknowledged take effect."""
        for lead, about, offset in self._reports:
            lead.reported(about, offset)
        self._reports.clear()
        if self._effects:
            effects, self._effects = self._effects, []
            self._pace.hand_over(effects)

    def _in_turn(self, now: float) -> list[Lead]:
        """Return the leads that have something to do, another one first in each cycle: whoever comes first takes the room that has become free.

        What comes due, or depends on more than the partition, is looked for every few milliseconds: asking all of them costs as much as a decision.
        """
        leads = list(self._leads.values())
        if now < self._all_at:
            leads = [lead for lead in leads if lead.stirred]
        else:
            self._all_at = now + _ALL_SECONDS
            self._many_untold = any(lead.untold >= MANY_UNTOLD for lead in leads)
        self._cycles += 1
        first = self._cycles % max(1, len(leads))
        return leads[first:] + leads[:first]

    def _wait(self, journal: Producer, outgoing: Producer) -> None:
        if any(lead.appending for lead in self._leads.values()):
            journal.poll(_ACK_POLL_SECONDS)
        else:
            try:
                self._inbox.get(timeout=self._patience())()
            except Empty:
                journal.poll(0)
                self._all_at = 0.0
        outgoing.poll(0)
        self._awake = False
        while True:
            try:
                item = self._inbox.get_nowait()
            except Empty:
                return
            item()

    def _patience(self) -> float:
        now = now_ms()
        due = [at for lead in self._leads.values() if (at := lead.due(now)) is not None]
        longest = _TOLD_POLL_SECONDS if any(lead.untold for lead in self._leads.values()) else _IDLE_SECONDS
        return min([longest, *due])

    def _assign(self, partition: int) -> None:
        lead = self._leads.get(partition)
        if lead is None:
            self._open(partition, assigned=True)
        elif not lead.assigned:
            lead.promote()

    def _follow(self, partitions: set[int]) -> None:
        for partition, lead in list(self._leads.items()):
            if not lead.assigned and partition not in partitions:
                self._revoke(partition)
        for partition in partitions - self._leads.keys():
            self._open(partition, assigned=False)

    def _open(self, partition: int, *, assigned: bool) -> None:
        if self._process is not None and not self._stopping:
            store = WriteBehind(RocksStore(self._folder / str(partition), self._memory))
            self._leads[partition] = Lead(partition, self._process, store, assigned=assigned)

    def _hand_over(self, partition: int, left: threading.Event) -> None:
        lead = self._leads.get(partition)
        if lead is None:
            left.set()
            return

        def leave() -> None:
            self._revoke(partition)
            left.set()

        # By way of the inbox, because it is called while all leads are gone through.
        lead.hand_over(lambda: self._inbox.put(leave))

    def _revoke(self, partition: int) -> None:
        lead = self._leads.pop(partition, None)
        if lead is not None:
            lead.step_down()
            lead.close()

    def _arrived(self, partition: int, takes: list[Take]) -> None:
        lead = self._leads.get(partition)
        if lead is not None:
            lead.arrived(takes)

    def _misplaced(self, partition: int) -> None:
        lead = self._leads.get(partition)
        if lead is not None:
            lead.misplaced()

    def _stop(self) -> None:
        self._stopping = True

    def _unfinished(self) -> bool:
        return any(lead.appending or lead.untold for lead in self._leads.values())


def _nothing() -> None:
    """Wake the thread."""
