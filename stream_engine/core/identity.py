"""Names that follow from their subject, so that a repeat of the same thing is recognised as the same.

An event's *identity* is the id that its producer gave it, or else its position in the log. Everything derived from the
event (its home partition, the ids of its runs, the idempotency keys of their steps) derives from that identity, which is
why a redelivery, a second router or a recovery cannot start a run twice.
"""

import hashlib
import zlib

_HASH_BYTES = 12


def event_identity(event_id: str | None, topic_id: str, partition: int, offset: int) -> str:
    """Return the identity of an event: its producer's id, or else its position on the log.

    The topic's id, not its name, takes part: a topic that is deleted and created again starts at offset 0, and its events
    are new ones.
    """
    if event_id is not None:
        return f"id:{event_id}"
    return f"at:{topic_id}/{partition}/{offset}"


def home_partition(identity: str, partitions: int) -> int:
    """Return the partition that owns an identity, in ``range(partitions)``."""
    return zlib.crc32(identity.encode()) % partitions


def digest(*parts: str) -> str:
    """Return 24 hexadecimal digits that stand for ``parts``; a different split of the same text differs."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=_HASH_BYTES).hexdigest()


def run_id(name: str, partition: int) -> str:
    """Return a run's id from its name (see `run_name`) and the partition that it lives on."""
    return f"{name}-{partition}"


def run_name(app: str, function: str, identity: str, replay_id: str | None) -> str:
    """Return the part of a run's id that says what it is a run of: one per (function, event, replay)."""
    return digest(app, function, identity, replay_id or "")


def partition_of(run: str) -> int:
    """Return the partition that a run lives on.

    Raises:
        ValueError: the text is not a run id.
    """
    name, dash, partition = run.rpartition("-")
    if not (dash and name and partition.isdecimal()):
        raise ValueError(f"not a run id: {run!r}; it looks like {'a' * 24}-0")
    return int(partition)


def idempotency_key(root: str, step: str) -> str:
    """Return the key that a step's body hands to other systems.

    ``root`` is the name of the original run (without a replay id), so the key is the same in every retry, crash and
    replay of the same event, function and step.
    """
    return digest(root, step)
