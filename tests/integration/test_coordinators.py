"""Asking about a group while the broker that coordinates it is gone: an error, and never the end of the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from stream_engine.shell import clients
from stream_engine.shell.coordinators import coordinated
from tests.cluster import Cluster
from tests.raw import create_topic
from tests.workers import ROOT

_SECONDS: Final = 120
_CODE: Final = """
import sys
from pathlib import Path
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from stream_engine.shell import clients
from stream_engine.shell.coordinators import coordinated
from stream_engine.shell.settings import Settings

settings = Settings(state_dir=Path(), bootstrap_servers=sys.argv[1])
late, answered = 0, 0
while not (late and answered == 2):
    admin, answered = clients.admin(settings), 0
    for ask, about in (
        (admin.describe_consumer_groups, "g"),
        (admin.list_consumer_group_offsets, ConsumerGroupTopicPartitions("g")),
    ):
        try:
            coordinated(ask, [about], 1.0)
        except KafkaException as error:
            late += error.args[0].name() == "_TIMED_OUT"
        else:
            answered += 1
    print("asked", flush=True)
"""


@pytest.mark.broker
def test_a_process_that_asks_for_a_coordinator_that_is_killed_is_told_so_and_then_by_the_next(tmp_path: Path) -> None:
    with Cluster(tmp_path / "brokers") as cluster:
        settings = cluster.settings(tmp_path)
        create_topic(cluster.servers, "t", 1)
        consumer = clients.member(settings, "g")
        consumer.subscribe(["t"])
        while not consumer.assignment():
            consumer.poll(0.1)
        consumer.close()
        coordinator = coordinated(clients.admin(settings).describe_consumer_groups, ["g"]).coordinator.id
        command = [sys.executable, "-c", _CODE, cluster.servers]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as asking:
            assert asking.stdout is not None
            assert asking.stdout.readline() == "asked\n"
            cluster.kill(coordinator)
            _, talk = asking.communicate(timeout=_SECONDS)
        assert asking.returncode == 0, talk
