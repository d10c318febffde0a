"""Which records of a journal count.

Kafka lets two workers append to one journal: the consumer group only proposes who leads, and a worker that was paused may
not know that it was replaced. The log itself decides, by one rule that every reader applies alike:

    A `LeaderElected` opens an epoch, named by its own offset. A `Decided` counts if and only if its epoch is the newest
    one opened before it and its number is one more than that of the last record that counted in this epoch.

The epoch shuts out the leader that was replaced. The number shuts out what follows a gap: an append that was refused, or
timed out, while a later one landed. ``docs/model`` checks the rule, and shows how it breaks without either half.
"""

from stream_engine.core.records.journal import Decided, JournalRecord, LeaderElected, Mark


def advance(mark: Mark, offset: int, record: JournalRecord) -> Mark | None:
    """Return the mark after a record, or None if the record does not count.

    Records at or below the mark's offset have been judged already and do not count again.
    """
    if offset <= mark.offset:
        return None
    if isinstance(record, LeaderElected):
        return Mark(offset, offset, 0)
    if counts(mark, record):
        return Mark(offset, mark.epoch, mark.n + 1)
    return None


def counts(mark: Mark, record: Decided) -> bool:
    """Return whether a record that lies behind the mark is in force; before the first `LeaderElected` none is."""
    return 0 <= record.epoch == mark.epoch and record.n == mark.n + 1
