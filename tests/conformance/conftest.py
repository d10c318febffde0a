"""One suite, two Kafkas."""

import re
from uuid import uuid4

import pytest

from tests.conformance.cluster import Cluster
from tests.conformance.real import RealCluster
from tests.conformance.simulated import SimulatedCluster


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.broker)])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """A Kafka: first the simulated one, then the real one."""
    if request.param == "simulated":
        return SimulatedCluster(seed=1)
    return RealCluster(request.getfixturevalue("broker"))


@pytest.fixture
def topic(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """A new topic with two partitions."""
    name = f"{re.sub(r'[^a-z]+', '-', request.node.name)[:40]}-{uuid4().hex[:8]}"
    cluster.create(name, 2)
    return name
