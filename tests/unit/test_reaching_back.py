"""What is said where a topic has lost events of the time that is asked for."""

from __future__ import annotations

import pytest

from stream_engine.core.instants import iso
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating.group_offsets import Found, check_reach

_LEFT = 1_800_000_000_000


def test_only_what_came_after_the_first_that_is_left_is_said_to_be_all_there() -> None:
    """Events that are stored at once have one time, and may not be gone at once; who begins at that time leaves out none that is left."""
    found = {0: Found(5, _LEFT), 1: Found(7, _LEFT - 10), 2: Found(0, 0)}
    with pytest.raises(UserError) as told:
        check_reach("shop.events", _LEFT - 20, found)
    assert "in partition 0, 1: events of that time have expired" in str(told.value)
    assert str(told.value).endswith(f"All after {iso(_LEFT)} is there; begin then")
    check_reach("shop.events", _LEFT, found)
