"""``stream-engine broker``: a real Apache Kafka on this machine."""

from __future__ import annotations

import click

from stream_engine.cli.output import print_json, say
from stream_engine.shell import localbroker
from stream_engine.shell.localbroker import BrokerStatus, Kind
from stream_engine.shell.settings import Settings


@click.group()
def broker() -> None:
    """A real Apache Kafka on this machine: in Docker where an engine answers, else on Java.

    With STREAM_ENGINE_BOOTSTRAP_SERVERS set, that broker is used, and none is started.
    """


@broker.command()
@click.option("--using", type=click.Choice(["docker", "java"]), help="Do not choose between the two.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="On 127.0.0.1; 0 for any free one. Default: the one of last time, else 9092, else any, as they are free.",
)
def start(using: Kind | None, port: int | None) -> None:
    """Start the broker, and print its address once it serves. One that runs already is fine."""
    found = localbroker.start(Settings.from_env(), using=using, port=port, say=say)
    click.echo(found.bootstrap_servers)


@broker.command()
def stop() -> None:
    """Stop the local broker and return once it is gone. Its topics and data stay for the next start."""
    say("stopped" if localbroker.stop(Settings.from_env()) else "no local broker runs")


@broker.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Say whether a broker serves, and where. Exit code 1 if none does."""
    found = localbroker.status(Settings.from_env())
    if as_json:
        print_json(found)
    else:
        click.echo(_sentence(found))
    if not found.running:
        ctx.exit(1)


def _sentence(found: BrokerStatus) -> str:
    if found.source is None:
        return "no broker is configured, and no local one was ever started"
    if found.running:
        where = (
            f"process {found.pid}" if found.pid else f"container {found.container[:12]}" if found.container else "yours"
        )
        return f"{found.bootstrap_servers} serves ({where}, cluster {found.cluster_id})"
    if found.source == "configured" or found.pid:
        return f"{found.bootstrap_servers} does not answer"
    return f"{found.bootstrap_servers} is stopped; `stream-engine broker start` starts it again, with its data"
