"""The ``stream-engine`` command.

Modules are loaded when their command is called, so that ``--help`` and short commands do not pay for clients, stores and
web servers that they never touch. A new command is one line in `COMMANDS`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final, NamedTuple

import click

from stream_engine.shell.errors import UserError


class Entry(NamedTuple):
    """Where a command is, as ``module:attribute``, and what the list of commands says about it."""

    target: str
    summary: str


COMMANDS: Final = {
    "dev": Entry("stream_engine.cli.dev:dev", "Serve an app on this machine: broker, topics and worker in one."),
    "broker": Entry("stream_engine.cli.broker:broker", "Start, stop and look at a real local Apache Kafka."),
    "worker": Entry("stream_engine.cli.worker:worker", "Serve an app."),
    "topics": Entry("stream_engine.cli.topics:topics", "Create or check an app's topics."),
    "send": Entry("stream_engine.cli.send:send", "Send one event, and wait for what it causes."),
    "runs": Entry("stream_engine.cli.runs:runs", "List runs, and draw what happened in one."),
    "replay": Entry("stream_engine.cli.replay:replay", "Run events again, while everything else goes on."),
    "check": Entry("stream_engine.cli.check:check", "List the runs that new code would let go another way."),
    "functions": Entry("stream_engine.cli.functions:functions", "List functions, and how many runs of each there are."),
    "groups": Entry("stream_engine.cli.groups:groups", "List how far an app's consumer groups have come; rewind one."),
    "dead-letters": Entry("stream_engine.cli.dead_letters:dead_letters", "Look at bad messages, and send them again."),
    "callbacks": Entry("stream_engine.cli.callbacks:callbacks", "Complete callbacks, which runs wait for."),
    "bench": Entry("stream_engine.cli.bench.command:bench", "Measure what a worker does on this machine."),
    "doctor": Entry("stream_engine.cli.doctor:doctor", "Check what durability needs, and say what to do."),
}


class LazyGroup(click.Group):
    """A group whose commands are named in a table and imported on use.

    A `UserError` from any of them becomes its message on stderr and exit code 1, without a traceback; so does what Kafka fails at for a moment,
    wherever it is asked.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the table's order: the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import one command; None if there is none of this name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """List the commands by the table's summaries, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and report what the user can mend."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise click.ClickException(str(error)) from error
        except Exception as error:
            # Help is shown without Kafka's client, so only who has imported it can have met its errors.
            clients = sys.modules.get("stream_engine.shell.clients")
            if clients is None or not isinstance(error, clients.KafkaException) or not clients.passes(error.args[0]):
                raise
            raise click.ClickException(
                f"Kafka does not answer: {error.args[0].str()}; is the broker up, and is it in time? `stream-engine doctor` looks at it"
            ) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stream-engine", prog_name="stream-engine")
def main() -> None:
    """Durable functions on Kafka events.

    Settings come from the environment: STREAM_ENGINE_BOOTSTRAP_SERVERS names the Kafka cluster, and
    STREAM_ENGINE_KAFKA__X_Y sets librdkafka's property x.y.
    """


if __name__ == "__main__":
    main()
