"""Which logs belong together, and whether a store is a copy of them.

A partition's state is the fold of one journal, but it speaks of other logs too. It says from which offset of the commands topic
to go on, and its runs, timers and queues are at home where the number of partitions put them. Kafka tells logs apart by ids that
no other topic ever has, so these are written down twice, and compared with what is there before anything is read or claimed:

* In the app's control topic, when the app is deployed for the first time. The topics are the truth. If one of them was created
  again, or given more partitions, the others go on speaking of what is not there any more: commands would be passed over, or
  what was done would be done again, and no worker can mend that. `TornError`: stop.
* In each store. A store is a copy. If it is one of other logs, or of another partition, the logs themselves have all that is
  needed: `MismatchError`, rebuild. Unless the store is the only witness that the logs do not belong together: stop again.

Events need no such care. Their topic's id is part of the name of what is routed from it (`stream_engine.core.partition.intake`) and of
each event's identity, so the events of a topic that was created again are new ones.
"""

from stream_engine.core.records.journal import Record


class MismatchError(Exception):
    """The store is no copy of these logs: they are others, or their end was lost, or the store was damaged."""


class TornError(Exception):
    """The logs of the app do not belong together, or not any more."""


class Logs(Record, frozen=True):
    """The logs of an app: Kafka's id of the cluster and of two topics, and how many partitions the commands topic has."""

    cluster: str
    journal: str
    commands: str
    partitions: int


class Origin(Record, frozen=True):
    """What a store is a copy of: one partition of an app's logs."""

    logs: Logs
    partition: int


def check_together(known: Logs, found: Logs) -> None:
    """Compare the logs as they were with the logs that are there now.

    The cluster alone may have got another id: the topics are the same ones.

    Raises:
        TornError: they are not the same, and nothing can be rebuilt from what is left of them.
    """
    torn = []
    if found.journal != known.journal:
        torn.append(
            f"the journal is another topic (its id was {known.journal}, and is {found.journal}): what was decided is gone, and would "
            "be done again"
        )
    if found.commands != known.commands:
        torn.append(
            f"the commands topic is another one (its id was {known.commands}, and is {found.commands}): what no worker had taken "
            "is gone, and its offsets begin anew"
        )
    if found.partitions != known.partitions:
        torn.append(
            f"the commands topic had {known.partitions} partitions, and has {found.partitions}: every event and every run has its "
            "place by that number"
        )
    if torn:
        raise TornError("; ".join(torn))


def check_copy(store: Origin, origin: Origin) -> None:
    """Compare what a store says that it is a copy of with what it is to be a copy of.

    Raises:
        MismatchError: it is a copy of something else.
        TornError: it is a copy of what these logs were before one of them was replaced.
    """
    if store == origin:
        return
    if store.logs.journal == origin.logs.journal or store.logs.commands == origin.logs.commands:
        check_together(store.logs, origin.logs)
    raise MismatchError(f"the store is a copy of {_words(store)}, and not of {_words(origin)}")


def _words(origin: Origin) -> str:
    logs = origin.logs
    return f"partition {origin.partition} of the journal {logs.journal} on the cluster {logs.cluster}"
