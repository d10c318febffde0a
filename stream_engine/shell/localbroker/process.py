"""Processes that outlive the one that started them, known by more than a number.

A process id is given to somebody else after its process has ended. So a process is remembered by its id together with the
moment of its birth, and nothing is signalled before both have been compared.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from stream_engine.shell.errors import UserError

# The shell ends at once, so the new process is nobody's child here: no zombie, and no open pipe of ours in its hands.
_DETACH: Final = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
_KILL_PATIENCE: Final = 10.0
_POLL_SECONDS: Final = 0.05


class ProcessId(msgspec.Struct, frozen=True):
    """A process, once and for all.

    Attributes:
        pid: its number.
        birth: when it was born, as text that only means something in comparison on the same machine.
    """

    pid: int
    birth: str


def start_detached(command: Sequence[str], *, log: Path, env: Mapping[str, str]) -> ProcessId | None:
    """Start a command that survives its starter, with both outputs appended to `log`; None if it ended at once."""
    shell = ["/bin/sh", "-c", _DETACH, "sh", str(log), *command]
    started = subprocess.run(shell, stdout=subprocess.PIPE, check=True, text=True, env=env, start_new_session=True)
    pid = int(started.stdout)
    birth = birth_of(pid)
    return None if birth is None else ProcessId(pid, birth)


def birth_of(pid: int) -> str | None:
    """When the process with this id was born, or None if there is none or it has ended and only waits to be reaped."""
    return _birth_by_proc(pid) if sys.platform == "linux" else _birth_by_ps(pid)


def is_alive(process: ProcessId) -> bool:
    """Whether this very process still runs."""
    return birth_of(process.pid) == process.birth


def end(process: ProcessId, *, grace: float) -> None:
    """Ask a process to end, kill it `grace` seconds later, and return once it is gone. Gone already is fine.

    Raises:
        UserError: it survived being killed, or belongs to somebody else.
    """
    signal_and_wait = _signal_by_handle if sys.platform == "linux" else _signal_by_number
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_PATIENCE)):
        try:
            gone = signal_and_wait(process, number, patience)
        except PermissionError as error:
            raise UserError(f"process {process.pid} belongs to another user, who has to end it") from error
        if gone:
            return
    raise UserError(
        f"process {process.pid} did not end {_KILL_PATIENCE:g} s after it was killed; see `ps {process.pid}`"
    )


def _birth_by_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets, which may itself hold brackets and spaces.
    state, *fields = stat.rpartition(")")[2].split()
    # Ticks since the boot tell nothing after another boot, so the boot is named as well.
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if state in "ZX" else f"{boot} {fields[18]}"


def _birth_by_ps(pid: int) -> str | None:
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, birth = shown.stdout.strip().partition(" ")
    return None if not birth or state.startswith("Z") else birth.strip()


def _signal_by_handle(process: ProcessId, number: signal.Signals, patience: float) -> bool:
    """Signal a process and wait for its end; whether it ended. The handle stays with one process, unlike its number."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_alive(process):
            return True
        signal.pidfd_send_signal(handle, number)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(patience * 1000))
    finally:
        os.close(handle)


def _signal_by_number(process: ProcessId, number: signal.Signals, patience: float) -> bool:
    """The same where there are no handles, and nothing to wait on for a process that is not a child."""
    if not is_alive(process):
        return True
    os.kill(process.pid, number)
    deadline = time.monotonic() + patience
    while is_alive(process) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return not is_alive(process)
