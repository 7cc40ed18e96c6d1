"""What shares of right answers say, and what they do not: intervals and a test, in Python's own arithmetic."""

from __future__ import annotations

from math import comb, sqrt

# Of the normal distribution: 95 % lie within.
Z = 1.959963984540054


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's interval of 95 % for a share (JASA 1927).

    >>> [round(end, 3) for end in interval(486, 500)]
    [0.954, 0.983]
    """
    share = right / count
    middle, spread = share + Z * Z / (2 * count), Z * sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
    whole = 1 + Z * Z / count
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def difference(gained: int, lost: int, count: int) -> tuple[float, float]:
    """The interval of 95 % for the difference of two shares of the same images (Agresti and Min, Stat. Med. 2005).

    Args:
        gained: how many the second alone has right. lost: how many the first alone.

    >>> [round(end, 4) for end in difference(4, 1, 500)]
    [-0.0036, 0.0155]
    """
    whole = count + 2
    middle = (gained - lost) / whole
    spread = Z * sqrt((gained + lost + 1) - (gained - lost) ** 2 / whole) / whole
    return middle - spread, middle + spread


def chance(gained: int, lost: int) -> float:
    """How probable as many changes on one side are by chance alone: McNemar's test, exact and two-sided.

    >>> chance(4, 1), chance(0, 0), round(chance(30, 10), 4)
    (0.375, 1.0, 0.0022)
    """
    total = gained + lost
    tail = sum(comb(total, number) for number in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2**total)
