"""Docker or Java: the decision alone."""

from __future__ import annotations

import pytest

from stream_engine.shell.localbroker.choice import Kind, choose


@pytest.mark.parametrize(
    ("wanted", "previous", "docker", "chosen"),
    [
        (None, None, True, "docker"),
        (None, None, False, "java"),
        (None, "java", True, "java"),
        (None, "docker", True, "docker"),
        (None, "docker", False, "java"),
        ("java", "docker", True, "java"),
        ("docker", "java", False, "docker"),
    ],
)
def test_choice(*, wanted: Kind | None, previous: Kind | None, docker: bool, chosen: Kind) -> None:
    assert choose(wanted=wanted, previous=previous, docker_answers=lambda: docker) == chosen


@pytest.mark.parametrize(("wanted", "previous"), [("java", None), ("docker", None), (None, "java")])
def test_the_engine_is_not_asked_where_its_answer_does_not_matter(wanted: Kind | None, previous: Kind | None) -> None:
    def docker_answers() -> bool:
        raise AssertionError("asked")

    choose(wanted=wanted, previous=previous, docker_answers=docker_answers)
