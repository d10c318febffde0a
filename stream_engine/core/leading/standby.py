"""Who keeps a warm copy of which partition, decided by every worker alike, from what the group has assigned.

Each copy is on the workers whose weight for the partition is highest, so that a worker that comes or goes moves few of them
(rendezvous hashing: Thaler and Ravishankar, 1998).
"""

import zlib
from collections.abc import Collection, Mapping


def followed(worker: str, assigned: Mapping[str, Collection[int]], copies: int) -> set[int]:
    """Return the partitions that a worker keeps a copy of; ``assigned`` has the partitions that each worker leads."""
    return {
        partition
        for leader, partitions in assigned.items()
        for partition in partitions
        if worker in _heaviest(assigned.keys() - {leader}, partition, copies)
    }


def _heaviest(workers: Collection[str], partition: int, copies: int) -> list[str]:
    return sorted(workers, key=lambda worker: (zlib.crc32(f"{partition}/{worker}".encode()), worker))[:copies]
