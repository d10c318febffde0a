"""An app's topics on a real broker: whoever asks for them finds them served."""

import json
import threading
from functools import partial
from pathlib import Path

from click.testing import CliRunner, Result
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_engine.cli.main import main
from stream_engine.shell import clients
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply
from tests.workers import until

_PARTITIONS = 16
_APPS = 3


def _exists(admin: AdminClient, topic: str) -> bool:
    return topic in admin.list_topics(timeout=30).topics


def _refused(admin: AdminClient, parts: list[TopicPartition]) -> list[str]:
    refused = []
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's
    for part, future in admin.list_offsets(dict.fromkeys(parts, latest), request_timeout=30).items():
        try:
            future.result(30)
        except KafkaException as error:
            refused.append(f"{part}: {error}")
    return refused


def test_topics_that_another_worker_is_creating_are_waited_for(settings: Settings, app_name: str) -> None:
    """Created is not yet served, and whoever did not create them has to wait all the same."""
    admin = clients.admin(settings)
    for number in range(_APPS):
        names = Names.of(f"{app_name}-{number}")
        other = threading.Thread(target=apply, args=(clients.admin(settings), names, _PARTITIONS), daemon=True)
        other.start()
        until(partial(_exists, admin, names.events), "the first topic is created")
        found = apply(admin, names, _PARTITIONS)
        parts = [TopicPartition(topic.name, part) for topic in found for part in range(topic.partitions)]
        assert len(parts) == 5 * _PARTITIONS + 2
        assert _refused(admin, parts) == []
        other.join()


def test_a_missing_topic_is_listed_as_missing(settings: Settings, app_name: str, tmp_path: Path) -> None:
    code = tmp_path / "app.py"
    code.write_text(f"from stream_engine import Engine\n\nengine = Engine({app_name!r})\n", "utf-8")

    def topics(*arguments: str, app: str = f"{code}:engine") -> Result:
        env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers), "STREAM_ENGINE_PARTITIONS": "1"}
        return CliRunner().invoke(main, ["topics", *arguments, app], env=env)

    assert topics("apply").exit_code == 0
    admin, history = clients.admin(settings), Names.of(app_name).history
    admin.delete_topics([history])[history].result(30)
    until(lambda: not _exists(admin, history), "the topic is gone")
    shown = topics("list")
    assert shown.exit_code == 1
    assert [line.split() for line in shown.stdout.splitlines() if "partitions" not in line] == [[history, "missing"]]
    listed = json.loads(topics("list", "--json").stdout)
    [missing] = [topic for topic in listed if not topic["ok"]]
    assert (missing["name"], missing["finding"]) == (history, "missing; `stream-engine topics apply` creates it")
    # Who operates an app need not have its code.
    by_name = topics("list", app=app_name)
    assert (by_name.exit_code, by_name.stdout) == (1, shown.stdout)
    nobody = topics("list", app="nobody")
    assert (nobody.exit_code, nobody.stdout) == (1, "")
    assert "there is no app 'nobody'" in nobody.stderr
    assert "does not say where an Engine is" in topics("apply", app=app_name).stderr
