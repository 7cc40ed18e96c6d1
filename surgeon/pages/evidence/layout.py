"""Tables as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def aligned(rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> Iterator[str]:
    """A line for each row: columns one below the other, numbers to the right.

    Args:
        left: the columns that begin at one place.

    >>> [*aligned([("site", "worth"), ("layer1.0", "2")])]
    ['site      worth', 'layer1.0      2']
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = (
            cell.ljust(width) if at in left else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths))
        )
        yield "  ".join(cells).rstrip()
