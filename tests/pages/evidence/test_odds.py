"""Intervals and the test of pairs, beside scipy's and by counting what they promise."""

import random
from math import isclose

import pytest
from scipy.stats import binomtest

from surgeon.pages.evidence.odds import chance, difference, interval


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (1, 2), (486, 500), (33, 1000)])
def test_the_interval_of_a_share(right, count):
    expected = binomtest(right, count).proportion_ci(0.95, method="wilson")
    least, most = interval(right, count)
    assert isclose(least, expected.low, abs_tol=1e-12) and isclose(most, expected.high, abs_tol=1e-12)


@pytest.mark.parametrize(("gained", "lost"), [(0, 1), (4, 1), (30, 10), (7, 7), (700, 610)])
def test_chance_is_the_binomial_test_of_those_that_differ(gained, lost):
    assert isclose(chance(gained, lost), binomtest(gained, gained + lost).pvalue, rel_tol=1e-9)
    assert chance(gained, lost) == chance(lost, gained)


def test_nothing_that_differs_is_chance():
    assert chance(0, 0) == 1 and difference(0, 0, 500)[0] == -difference(0, 0, 500)[1]


def test_the_interval_of_a_difference_holds_the_truth_in_95_of_100_cases():
    drawn, count, held = random.Random(0), 200, 0
    # Of a pair, 8 % are gained and 3 % lost.
    for _ in range(1000):
        found = [drawn.random() for _ in range(count)]
        least, most = difference(sum(one < 0.08 for one in found), sum(one > 0.97 for one in found), count)
        held += least <= 0.05 <= most
    assert 930 <= held <= 985
