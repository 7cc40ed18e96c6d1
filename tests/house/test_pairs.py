"""Tables that were thinned out still have every pair in them."""

from itertools import combinations, product

import pytest

from tests.shared.pairs import pairs


@pytest.mark.parametrize("lengths", [(19, 12, 4), (21, 12, 4), (5, 5, 3), (2, 3, 2), (3, 3, 3)])
def test_every_two_values_meet(lengths):
    axes = [[f"{name}{number}" for number in range(length)] for name, length in zip("abc", lengths)]
    rows = pairs(*axes)
    assert len(rows) == lengths[0] * lengths[1]
    for (i, one), (j, two) in combinations(enumerate(axes), 2):
        assert {(row[i], row[j]) for row in rows} == set(product(one, two))


def test_an_axis_that_would_not_fit_is_refused():
    with pytest.raises(ValueError, match="the shortest axis comes last"):
        pairs([1], [1, 2], [1, 2])
