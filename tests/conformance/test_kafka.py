"""What the engine relies on, shown of the simulated Kafka and of a real one.

A fault of the simulation that a real Kafka does not have costs nothing; a promise that a real one does not keep would make
every seed worthless. So the suite asks for what the core builds on, and for the ways in which it must not trust Kafka.
"""

import time

import pytest

from tests.conformance.cluster import Cluster, Member
from tests.conformance.real import RealCluster
from tests.simulation.kafka import Report, UnknownTopicError

_PATIENCE = 30.0


def _values(count: int) -> list[bytes]:
    return [f"value {number}".encode() for number in range(count)]


def _gathered(*members: Member) -> list[set[int]]:
    """Let members take part in their group until each has something and nothing is left; return who has what."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        has = [member.assignment() for member in members]
        if all(has) and set.union(*has) == {0, 1} and sum(map(len, has)) == 2:
            return has
    raise AssertionError("the group does not come to rest")


def test_a_single_writer_gets_contiguous_offsets_in_the_order_of_its_appends(cluster: Cluster, topic: str) -> None:
    """Many appends under way at once: the report of each names its place, and the log has them in order."""
    writer = cluster.writer()
    for value in _values(300):
        writer.append(topic, 0, value)
    assert writer.reports() == [Report(ok=True, offset=offset) for offset in range(300)]
    assert cluster.read(topic, 0, range(300)) == list(enumerate(_values(300)))


def test_one_append_at_a_time_is_acknowledged_at_the_end_of_the_log(cluster: Cluster, topic: str) -> None:
    """As a leader appends: the next offset is the one behind the last."""
    writer = cluster.writer()
    for number, value in enumerate(_values(20)):
        writer.append(topic, 1, value)
        assert writer.reports() == [Report(ok=True, offset=number)]
        assert cluster.end(topic, 1) == number + 1
    assert cluster.end(topic, 0) == 0


def test_each_of_two_writers_sees_the_other_by_a_jump_of_its_offsets(cluster: Cluster, topic: str) -> None:
    """Contiguity fencing: nobody is told, and the offset alone shows it."""
    one, two = cluster.writer(), cluster.writer()
    offsets = []
    for writer in (one, one, two, one, two):
        writer.append(topic, 0, b"mine")
        (report,) = writer.reports()
        assert report.ok
        offsets.append(report.offset)
    assert offsets == [0, 1, 2, 3, 4]


def test_what_was_reported_as_an_error_may_have_landed(cluster: Cluster, topic: str) -> None:
    """So an error says nothing of the log, and a leader that gets one has to read it again."""
    seen = set()
    for number in range(200):
        value = f"attempt {number}".encode()
        report = cluster.writer().give_up(topic, 0, value)
        landed = value in [found for _, found in cluster.read(topic, 0, range(cluster.end(topic, 0)))[-5:]]
        assert landed or not report.ok, "what is acknowledged has landed"
        seen.add((report.ok, landed))
        if (False, True) in seen:
            return
    pytest.fail(f"in 200 attempts no error landed: {seen}")


def test_reading_up_to_a_captured_end_gives_exactly_what_was_there(cluster: Cluster, topic: str) -> None:
    """The end of a recovery is a position, however much is appended meanwhile."""
    writer = cluster.writer()
    for value in _values(5):
        writer.append(topic, 0, value)
    writer.reports()
    end = cluster.end(topic, 0)
    for value in _values(5):
        writer.append(topic, 0, value)
    writer.reports()
    assert cluster.read(topic, 0, range(2, end)) == list(enumerate(_values(5)))[2:]


def test_unknown_topics_and_partitions_refuse(cluster: Cluster, topic: str) -> None:
    """Nothing is created by writing to it."""
    writer = cluster.writer()
    with pytest.raises(UnknownTopicError):
        writer.append(f"{topic}-nowhere", 0, b"value")
    with pytest.raises(UnknownTopicError):
        writer.append(topic, 2, b"value")


def test_a_topic_that_is_created_again_starts_at_zero_under_another_id(cluster: Cluster, topic: str) -> None:
    """Which is why identities and stores name the topic's id, not its name."""
    before = cluster.topic_id(topic)
    writer = cluster.writer()
    writer.append(topic, 0, b"value")
    writer.reports()
    cluster.create(topic, 2)
    assert cluster.topic_id(topic) != before
    assert cluster.end(topic, 0) == 0


def test_committed_offsets_and_their_metadata_outlive_the_member(cluster: Cluster, topic: str) -> None:
    """The router's progress is there for its successor."""
    first = cluster.member(f"{topic}-group", topic)
    _gathered(first)
    assert first.committed(0) is None
    assert first.commit(0, 7, "a mark")
    assert first.commit(0, 8, "another mark")
    first.close()
    second = cluster.member(f"{topic}-group", topic)
    try:
        _gathered(second)
        assert second.committed(0) == (8, "another mark")
        assert second.committed(1) is None
    finally:
        second.close()


def test_partitions_are_shared_and_each_has_one_owner(cluster: Cluster, topic: str) -> None:
    """Once a group has come to rest."""
    members = [cluster.member(f"{topic}-group", topic) for _ in range(2)]
    try:
        assert sorted(map(len, _gathered(*members))) == [1, 1]
    finally:
        for member in members:
            member.close()


def test_a_member_may_commit_for_a_partition_of_another(cluster: Cluster, topic: str) -> None:
    """So a committed offset may go back, and whoever routes from there repeats what was routed."""
    members = [cluster.member(f"{topic}-group", topic) for _ in range(2)]
    try:
        (mine,), _ = _gathered(*members)
        assert members[0].commit(mine, 9, "its owner")
        assert members[1].commit(mine, 4, "another member")
        assert members[0].committed(mine) == (4, "another member")
    finally:
        for member in members:
            member.close()


def test_a_member_that_falls_silent_is_replaced_and_its_commit_refused(cluster: Cluster, topic: str) -> None:
    """It does not know, and goes on believing; what it commits has no effect."""
    silent = cluster.member(f"{topic}-group", topic)
    _gathered(silent)
    assert silent.commit(0, 5, "while it leads")
    silent.fall_silent()
    successor = cluster.member(f"{topic}-group", topic)
    try:
        _gathered(successor)
        assert not silent.commit(0, 3, "afterwards")
        assert successor.committed(0) == (5, "while it leads")
        assert successor.commit(0, 6, "its successor")
    finally:
        successor.close()
        if isinstance(cluster, RealCluster):
            silent.close()
