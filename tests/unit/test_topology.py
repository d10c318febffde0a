"""The process of a Faust app beside a worker, where the app is in no hurry to end."""

import os
import subprocess
import sys
from pathlib import Path

from tests.workers import ROOT

_APP = """
import asyncio
import faust

class Hangs(faust.App):
    async def on_start(self):
        print("begun", flush=True)
        await asyncio.sleep(3_600)

    async def on_stop(self):
        print("asked", flush=True)
        await asyncio.sleep(3_600)

app = Hangs("hangs", broker="aiokafka://127.0.0.1:1", web_enabled=False, datadir={folder!r})
"""
_MAIN = "import sys; from stream_engine.cli import topology; topology.END_SECONDS = 1.0; topology.main(*sys.argv[1:])"


def test_an_app_that_hangs_does_not_outlive_its_worker(tmp_path: Path) -> None:
    """As Faust does where the broker is gone as well."""
    file = tmp_path / "hangs.py"
    file.write_text(_APP.format(folder=str(tmp_path / "data")), "utf-8")
    with subprocess.Popen(
        [sys.executable, "-c", _MAIN, f"{file}:app", "shop"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.stdin.close()
        try:
            assert process.wait(60) == 1
            assert process.stdout.read() == "asked\n"
        finally:
            process.kill()
