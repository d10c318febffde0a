"""``stream-engine worker``: serve an app."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import TypedDict, Unpack

import click

from stream_engine.cli.apps import load_engine
from stream_engine.cli.output import say
from stream_engine.cli.signals import Signals
from stream_engine.cli.topologies import NAMES, Topologies, TopologyNames
from stream_engine.cli.values import ADDRESS, DURATION
from stream_engine.sdk.engine import Engine
from stream_engine.sdk.execution import THREADS
from stream_engine.sdk.slots import Capacity
from stream_engine.shell import callback_routes
from stream_engine.shell.endpoint import Address, Endpoint
from stream_engine.shell.errors import UserError
from stream_engine.shell.health import Health, routes
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating.completing import Completing
from stream_engine.shell.parent import Parent
from stream_engine.shell.processes import Processes
from stream_engine.shell.settings import Settings
from stream_engine.shell.threads import Limits
from stream_engine.shell.worker import Worker


class _Options(TypedDict):
    """The options of the command, by their names in Python."""

    max_runs: int
    max_steps: int
    threads: int
    drain_timeout: int
    activate: bool
    processes: int
    http: Address | None
    parent: int | None
    topology: tuple[str, ...]


@click.command()
@click.argument("app")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Worker processes, with these limits each.",
)
@click.option(
    "--max-runs", type=click.IntRange(1), default=Limits.runs, show_default=True, help="Runs executed at a time."
)
@click.option(
    "--max-steps",
    type=click.IntRange(1),
    default=Capacity.steps,
    show_default=True,
    help="Bodies of steps in progress at a time.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=Capacity.threads,
    show_default=True,
    help="Threads for `def` steps, and as many for `def` functions.",
)
@click.option(
    "--drain-timeout", type=DURATION, default="30s", show_default=True, help="How long steps in flight may take to end."
)
@click.option(
    "--activate", is_flag=True, help="Route events by these functions, even if a newer deploy has others: a rollback."
)
@click.option(
    "--http",
    type=ADDRESS,
    help="Serve /live, /ready and /callbacks/TOKEN at [HOST:]PORT; without HOST for this machine alone.",
)
@click.option(
    "--topology",
    type=TopologyNames(),
    default=(),
    help=f"Faust apps to run beside the worker, each in a process of its own: {', '.join(NAMES)}, or file.py:attribute.",
)
@click.option("--parent", type=int, hidden=True)
def worker(app: str, **options: Unpack[_Options]) -> None:
    """Serve APP, which is `module:attr` or `file.py:attr`; create its topics if they are missing.

    Prints `ready` on stderr once it serves. SIGTERM lets the steps in flight end, and leaves the group; a second one does not
    wait for them.
    """
    log_to_stderr()
    if options["processes"] > 1:
        sys.exit(_several(app, options))
    engine = load_engine(app)
    settings = connected(Settings.from_env())
    limits = Limits(
        options["max_runs"], Capacity(options["max_steps"], options["threads"]), options["drain_timeout"] / 1_000
    )
    line = None if options["parent"] is None else socket.socket(fileno=options["parent"])
    around = partial(_around, http=options["http"], line=line)
    # Of several processes, the one that has started them says when all are ready.
    announce: Callable[[], None] = partial(say, "ready") if line is None else (lambda: None)
    with Topologies(options["topology"], engine.name, settings) as topologies:

        def ready() -> None:
            topologies.start()
            announce()

        asyncio.run(serve(engine, settings, limits, ready, activate=options["activate"], around=around))


_LEAVE_SECONDS = 30.0
"""How long a worker may take besides its drain time to give up its partitions and leave, if Kafka is slow or away."""


async def serve(
    engine: Engine,
    settings: Settings,
    limits: Limits,
    ready: Callable[[], None],
    *,
    activate: bool,
    around: Callable[[Worker], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Serve an app until SIGTERM or SIGINT, a second of which lets nothing end; call ``ready`` once it serves.

    What ``around`` makes of the worker is entered meanwhile. See `Worker` for ``activate``.

    Raises:
        UserError: the app cannot be served; the message says what to do.
    """
    worker = Worker(engine, settings, limits, activate=activate)
    patience = limits.drain + _LEAVE_SECONDS

    def give_up() -> None:
        say(
            "Error: it was asked to stop, and code of the app blocks the event loop or its lifespan does not end; it ends as it is"
        )
        _end(0)

    try:
        with Signals(worker.stop, patience, give_up), around(worker):
            await worker.serve(ready)
    except UserError as error:
        if _is_held_up():
            say(f"Error: {error}")
            _end(1)
        raise
    if _is_held_up():
        _end(0)


@contextmanager
def _around(worker: Worker, http: Address | None, line: socket.socket | None) -> Iterator[None]:
    """Tell how a worker is: by HTTP, and to the process that has started it."""
    with ExitStack() as stack:
        if http is not None:
            completing = stack.enter_context(Completing(worker.settings, worker.engine.name))
            stack.enter_context(_listening(http, worker.health, completing))
        if line is not None:
            parent = Parent(line, worker.health, worker.stop)
            parent.start()
            stack.callback(parent.stop)
        yield


@contextmanager
def _listening(address: Address, health: Callable[[], Health], completing: Completing) -> Iterator[None]:
    with Endpoint(address, [*routes(health), *callback_routes.routes(completing)]) as endpoint:
        say(f"{endpoint.url}/live and {endpoint.url}/ready tell how it is")
        yield


async def _serve_several(count: int, command: Callable[[int], list[str]], http: Address | None) -> int:
    processes = Processes(count, command)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, processes.stop)
    with ExitStack() as stack:
        if http is not None:
            # Which app they serve, only the processes know.
            completing = stack.enter_context(Completing(connected(Settings.from_env())))
            stack.enter_context(_listening(http, processes.health, completing))
        return await processes.run(lambda: say("ready"))


def _several(app: str, options: _Options) -> int:
    """Serve with several processes, and the topologies beside them once; return the exit code."""
    if "group.instance.id" in Settings.from_env().kafka:
        raise click.UsageError(
            "--processes: group.instance.id (STREAM_ENGINE_KAFKA__GROUP_INSTANCE_ID) names one process, and these would put each other out of the "
            "group; leave it out, or start each process by itself with a name of its own"
        )
    command = partial(_command, app, options)
    serving = partial(_serve_several, options["processes"], command, options["http"])
    if not options["topology"]:
        return asyncio.run(serving())
    with Topologies(options["topology"], load_engine(app).name, connected(Settings.from_env())) as topologies:
        # Before the app's topics exist, a topology ends, says so, and is started again.
        topologies.start()
        return asyncio.run(serving())


def _command(app: str, options: _Options, line: int) -> list[str]:
    """Return the command of one of several processes, which reports on a line to this one."""
    told = {"max-runs": options["max_runs"], "max-steps": options["max_steps"], "threads": options["threads"]}
    numbers = [text for name, value in told.items() for text in (f"--{name}", str(value))]
    drain = ["--drain-timeout", f"{options['drain_timeout']}ms", "--parent", str(line)]
    activate = ["--activate"] if options["activate"] else []
    return [sys.executable, "-P", "-m", "stream_engine.cli.main", "worker", app, *numbers, *drain, *activate]


def _is_held_up() -> bool:
    """Return whether code of the app is still at work: a `def` function in its thread, or a task that takes no cancellation.

    The drain time is up, and nobody takes its result any more; Python itself would wait for it, for ever if need be.
    """
    threads = any(thread.name.startswith(THREADS) for thread in threading.enumerate())
    return threads or bool(asyncio.all_tasks() - {asyncio.current_task()})


def _end(code: int) -> None:
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


def log_to_stderr() -> None:
    """Have warnings of everything, and what the engine itself has to say, printed on stderr."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("stream_engine").setLevel(logging.INFO)
