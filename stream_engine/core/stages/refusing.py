"""Kafka does not let this app send to another one: the steps that call it are told so, because nobody can say when it will.

Commands between two partitions have dense numbers, and whoever gets them passes over those behind a gap. So a call that is taken back leaves something in its place
that changes nothing: the cancellation of a run that was never made. Of a call that Kafka has taken, but did not say so, the run may have begun, and is cancelled only if that is given up
otherwise. Answers to other apps and cancellations stay where they are, and are tried again: nobody here waits for them.
"""

from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.outbox import queue_bounds
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.journal import encode
from stream_engine.core.records.requests import Call, Cancel, Command, Reply
from stream_engine.core.records.tables import OUTBOX
from stream_engine.core.stages.commands import CallsRefused


def refused(turn: Turn, command: CallsRefused) -> None:
    """Take back the calls of a queue that Kafka refuses, as many as one record has room for; the rest when it refuses again."""
    for key, message in turn.state.scan(OUTBOX, *queue_bounds(command.queue)):
        if turn.is_full:
            return
        commands = decode_commands(message.value or b"")
        if not any(isinstance(item, Call) for _, item in commands.items):
            continue
        items = [(number, _taken_back(turn, item, message.topic, command.error)) for number, item in commands.items]
        turn.state.put(key, replace(message, value=encode(replace(commands, items=items))))
        turn.sends.append(key)


def _taken_back(turn: Turn, item: Command, topic: str, error: str) -> Command:
    if not isinstance(item, Call):
        return item
    caller = item.caller
    app = topic.removesuffix(".commands")
    message = f"Kafka refuses the call of {app}/{item.function}: {error}; workers of app {turn.rules.app!r} need the right to write to {topic}"
    reply = Reply(caller.run_id, caller.step_id, None, "failed", Failure("InvokeError", message))
    turn.command(partition_of(caller.run_id), reply)
    return Cancel(item.run_id, "the call was refused by Kafka")
