"""Kafka's own command line tools, fetched as the local broker's jars are."""

import subprocess
from pathlib import Path
from typing import Final

from stream_engine.shell import clients
from stream_engine.shell.localbroker.jars import kafka_jars
from stream_engine.shell.localbroker.java import find_java
from stream_engine.shell.settings import Settings
from tests.workers import until

_GROUPS: Final = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
_POM: Final = Path(__file__).with_suffix(".pom.xml")
_SECONDS: Final = 120


_TOOLS: Final = {
    "kafka-consumer-groups.sh": _GROUPS,
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
}


def reset_offsets(settings: Settings, group: str, topic: str, *to: str) -> str:
    """Do what ``kafka-consumer-groups --reset-offsets --execute`` does, once the group has no members; return what it printed."""
    admin = clients.admin(settings)
    until(lambda: not admin.describe_consumer_groups([group])[group].result(30).members, f"{group} has no members")
    return run_tool(
        settings, "kafka-consumer-groups.sh", "--group", group, "--topic", topic, "--reset-offsets", *to, "--execute"
    )


def run_tool(settings: Settings, tool: str, *options: str) -> str:
    """Run one of Kafka's tools, by the name of its script, against the broker; return what it printed."""
    java = find_java()
    # This one is still among the broker's own classes.
    pom = {} if tool == "kafka-configs.sh" else {"pom": _POM}
    jars = kafka_jars(settings.cache_dir, java=java, say=print, **pom)
    command = [str(java), "-cp", f"{jars}/*", _TOOLS[tool], "--bootstrap-server", str(settings.bootstrap_servers)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Error" not in done.stdout, done.stdout
    return done.stdout
