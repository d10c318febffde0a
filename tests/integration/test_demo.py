"""The demo, which is the first thing that anybody runs: a worker is killed in it, and nothing is lost or done twice."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.broker
def test_the_demo_shows_what_it_claims(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "topologies" / "demo.py")],
        env=os.environ | {"TMPDIR": str(tmp_path), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = re.sub(r" +", " ", done.stdout)
    assert "4 kill -9" in said
    for line in (
        "process-order 183 runs completed, 3 failed",
        "remind 183 runs completed",
        "send-receipt 183 runs completed",
        "process-order:on_failure 3 runs completed",
        "runs lost 0 of the",
        "run twice: 0",
        "duplicate orders 4, recognised",
        "dead letters 8,",
    ):
        assert line in said
    for reason in ("invalid-json", "invalid-event", "invalid-data", "too-far"):
        assert f" {reason} " in said
    assert re.search(r"charge run \S+ .* completed", said), "the timeline of an interrupted run"
    assert list(tmp_path.glob("stream-engine-demo-*")) == []
