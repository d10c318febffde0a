"""What `groups reset` says once it has set offsets."""

import pytest

from stream_engine.cli.group_reset import done
from stream_engine.shell.operating.group_offsets import Move


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        ([(9, 2)], ", and what was rewound runs again"),
        ([(2, 9)], ", and what was passed over does not run"),
        ([(9, 2), (2, 9), (5, 5)], ", and what was rewound runs again; what was passed over does not run"),
        ([(5, 5), (None, 3)], ""),
    ],
)
def test_the_last_words_fit_what_was_moved(moved: list[tuple[int | None, int]], words: str) -> None:
    moves = [Move("shop.events", number, now, to, 0, 9) for number, (now, to) in enumerate(moved)]
    assert done("shop", moves) == f"done; start the workers of shop{words}"
