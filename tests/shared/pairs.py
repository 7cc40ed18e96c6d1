"""Rows of a table in which every two values meet, where all combinations of them would be too many."""

from collections.abc import Sequence
from typing import Any


def pairs(one: Sequence[Any], two: Sequence[Any], three: Sequence[Any]) -> list[tuple[Any, Any, Any]]:
    """Each of `one` with each of `two`, and along the diagonals one of `three`, which so meets each of both.

    >>> pairs("ab", "xy", [0, 1])
    [('a', 'x', 0), ('a', 'y', 1), ('b', 'x', 1), ('b', 'y', 0)]
    """
    if len(three) > min(len(one), len(two)):
        raise ValueError("the shortest axis comes last")
    return [(a, b, three[(i + j) % len(three)]) for i, a in enumerate(one) for j, b in enumerate(two)]
