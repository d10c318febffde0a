"""Who meets a format that it does not know stops; who knows it says that what comes of it has that format too."""

from collections.abc import Callable

import pytest

from stream_engine.core.failure import Failure
from stream_engine.core.functions.match import Matched
from stream_engine.core.leading import candidate
from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.partition.change import Change, Take
from stream_engine.core.partition.snapshot import Restore
from stream_engine.core.partition.turn import Function, Rules
from stream_engine.core.records import decoding
from stream_engine.core.records import journal as records
from stream_engine.core.records.chunks import Chunk, Complete, SnapshotId
from stream_engine.core.records.decoding import UnreadableError, decode_commands, decode_journal, decode_state
from stream_engine.core.records.history import RunStarted
from stream_engine.core.records.journal import READS, WRITES, Decided, Event, LeaderElected, Mark, encode
from stream_engine.core.records.origin import Logs, MismatchError, Origin
from stream_engine.core.records.requests import Admit, Commands, Handle
from stream_engine.core.records.tables import FOLDED, FOLDED_KEY, OUTBOX, Folded
from stream_engine.core.records.tables import encode as encode_entry
from stream_engine.core.routing import route
from stream_engine.core.routing.receive import Message
from stream_engine.core.routing.route import Router
from stream_engine.core.stages.commands import FailRun
from tests.golden.leader_bench import ORIGIN
from tests.simulation.store import SimStore

NEXT = READS + 1
RULES = Rules("shop", {"pay": Function("pay", ("1",), "mourn")}, 2, "commands", "journal/J/0", 0)
EVENT = Event("order/placed", "id:7", "7", 5, 6, "events", 0, 7, b"{}")


@pytest.fixture
def next_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine of the first of the two releases that bring a format: it reads it, and does not write it."""
    monkeypatch.setattr(decoding, "READS", NEXT)


def _decided(n: int = 1, format: int = NEXT) -> bytes:  # noqa: A002 - the field's name
    return encode(Decided(0, n, n, 100 + n, Mark(), [], [], [], format=format))


def _folded(origin: Origin) -> SimStore:
    store = SimStore()
    store.data[FOLDED_KEY] = encode_entry(Folded("J", Mark(4, 4, 0), told=Mark(4, 4, 0), origin=origin, format=NEXT))
    return store


NEWER: dict[str, tuple[Callable[[bytes], object], records.Record]] = {
    "claim": (decode_journal, LeaderElected("w", 0, NEXT)),
    "decided": (decode_journal, Decided(0, 1, 0, 0, Mark(), [], [], [], format=NEXT)),
    "commands": (decode_commands, Commands("s", None, [], NEXT)),
    "chunk": (decode_state, Chunk(SnapshotId("J", 0, 1), 0, 0, [], NEXT)),
    "complete": (decode_state, Complete(SnapshotId("J", 0, 1), 0, b"", NEXT)),
}


@pytest.mark.parametrize(("decode", "record"), NEWER.values(), ids=NEWER)
def test_a_record_of_the_next_format_is_not_read(
    decode: Callable[[bytes], object], record: records.Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        UnreadableError, match=f"it has format {NEXT}, and this engine reads formats up to {READS}: a newer"
    ):
        decode(encode(record))
    monkeypatch.setattr(decoding, "READS", NEXT)
    assert decode(encode(record)) == record


def test_a_writer_makes_use_of_what_every_reader_knows_that_it_is_deployed_beside() -> None:
    assert records.WRITES in {records.READS, records.READS - 1}


def test_a_store_that_has_folded_the_next_format_is_neither_led_nor_emptied() -> None:
    with pytest.raises(UnreadableError, match="newer"):
        Candidate("w", _folded(ORIGIN), ORIGIN)


def test_a_store_of_other_logs_is_emptied_whatever_its_format() -> None:
    other = Origin(Logs("elsewhere", "X", "Y", 1), 0)
    with pytest.raises(MismatchError):
        Candidate("w", _folded(other), ORIGIN)


def test_a_snapshot_of_the_next_format_is_not_taken() -> None:
    restore = Restore("J", 4)
    with pytest.raises(UnreadableError, match="newer"):
        restore.take(encode(Chunk(SnapshotId("J", 0, 1), 4, 0, [(b"r", b"")], NEXT)))


@pytest.mark.usefixtures("next_is_known")
def test_what_a_worker_writes_by_itself_has_the_format_that_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (candidate, route):
        monkeypatch.setattr(module, "WRITES", NEXT)
    assert decode_journal(Candidate("w", SimStore(), ORIGIN).campaign(7)) == LeaderElected("w", 7, NEXT)
    message = Message("events", "E", 0, 7, 6, None, b"{}")
    [(_, raw)] = Router("E", 0, 7, 2).route([(message, EVENT)], 8, lambda *_: Matched(["pay"], [], [])).commands
    assert decode_commands(raw).format == NEXT


class _Term:
    """One term of leading a partition by a worker that reads the next format, and does not write it."""

    def __init__(self, store: SimStore, journal: list[bytes]) -> None:
        self.store, self.journal = store, journal
        candidate = Candidate("w", store, ORIGIN)
        journal.append(candidate.campaign(7))
        for offset in candidate.elected(len(journal) - 1):
            self._write(candidate.replay(offset, journal[offset]))
        self.leader = candidate.lead(RULES)

    def take(self, commands: Commands) -> Decided:
        """Take a record of commands; return what is appended."""
        return self._append(self.leader.decide([Take(self.leader.commands, commands)], 1_000))

    def renew(self) -> Decided:
        """Append a record that decides nothing."""
        return self._append(self.leader.renew(1_000))

    def _append(self, raw: bytes | None) -> Decided:
        assert raw is not None
        self.journal.append(raw)
        self._write(self.leader.acknowledged(len(self.journal) - 1).change)
        record = decode_journal(raw)
        assert isinstance(record, Decided)
        return record

    def _write(self, change: Change | None) -> None:
        if change is not None:
            self.store.write(change)


def _formats(term: _Term) -> set[int]:
    """Return which formats a snapshot of the state has, with the state's own."""
    folded = FOLDED.decode(term.store.data[FOLDED_KEY])
    entries = [item for item in sorted(term.store.data.items()) if item[0] != FOLDED_KEY]
    snapshot = [decode_state(raw).format for raw in term.leader.snapshot().records(entries, chunk_bytes=1)]
    assert len(snapshot) == len(entries) + 1
    return {folded.format, *snapshot}


@pytest.mark.usefixtures("next_is_known")
def test_what_comes_of_a_command_has_its_format_and_so_has_the_state_from_then_on() -> None:
    store, journal = SimStore(), list[bytes]()
    term = _Term(store, journal)
    assert (term.renew().format, _formats(term)) == (WRITES, {WRITES})
    assert term.take(Commands("s", 0, [(7, Admit(EVENT, ["pay"]))], NEXT)).format == NEXT
    assert (term.renew().format, _formats(term)) == (NEXT, {NEXT})
    term.leader.close()
    for copy in (store, SimStore()):
        later = _Term(copy, journal)
        assert decode_journal(journal[-1]).format == WRITES
        assert (later.renew().format, _formats(later)) == (NEXT, {NEXT})
        later.leader.close()


@pytest.mark.usefixtures("next_is_known")
def test_what_comes_of_a_command_and_goes_to_another_partition_has_its_format() -> None:
    term = _Term(SimStore(), [])
    failing = Commands("s", 0, [(7, Admit(EVENT, ["pay"]))], NEXT)
    [begun] = term.take(failing).history
    assert isinstance(begun, RunStarted)
    raw = term.leader.decide([FailRun(begun.run_id, Failure("E", "no"))], 1_001)
    assert raw is not None
    record = decode_journal(raw)
    assert isinstance(record, Decided)
    [sent] = [OUTBOX.decode(value) for key, value in record.puts if key.startswith(OUTBOX.prefix)]
    assert sent.value is not None
    handled = decode_commands(sent.value)
    assert isinstance(handled.items[0][1], Handle)
    assert handled.format == NEXT
