"""Lines of text in columns, for listings: each as wide as it has to be, the last one as long as it is."""

from collections.abc import Iterator, Sequence

from rich.text import Text

_GAP = "  "


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Text]:
    """Give the lines of a table, its heads first; what is in a cell stays on its line."""
    flat = [[" ".join(cell.splitlines()) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (heads, *flat)) for column in range(len(heads) - 1)]
    yield Text(_line(heads, widths), "bold")
    for row in flat:
        yield Text(_line(row, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join([*(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)), cells[-1]])
