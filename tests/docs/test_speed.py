"""The page on speed says what the table says; and the command that measures runs."""

import pytest
import torch

pytestmark = pytest.mark.network

from benchmarks.speed.__main__ import PAGE, TABLE, page_of  # noqa: E402
from benchmarks.speed.cases import Case, Group  # noqa: E402
from benchmarks.speed.measure import COLUMNS, measure  # noqa: E402
from benchmarks.speed.rivals import Published  # noqa: E402
from benchmarks.speed.timing import kept  # noqa: E402
from benchmarks.sweep import rows  # noqa: E402
from surgeon.attention import build  # noqa: E402


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page_of(TABLE)


def test_a_group_is_measured_and_takes_the_place_of_an_older_one(tmp_path):
    path = tmp_path / "speed.csv"
    cases = [Case("a", lambda: None, lambda: None), Case("b", lambda: None, lambda: None)]
    for _ in range(2):
        measure(path, Group((2, 3), "NCHW", "float32"), cases, 3)
    found = rows(path)
    assert [row["case"] for row in found] == ["a", "b"] and [*found[0]] == COLUMNS


def step(module, x):
    return Case("", lambda: None, lambda: module(x).sum().backward())


def test_the_published_form_keeps_several_maps_and_surgeons_the_one_that_it_is_given():
    x = torch.randn(4, 64, 32, 32, requires_grad=True)
    size = x.numel() * 4
    assert size < kept(step(build("cbam", 64).train(), x)) < 1.5 * size
    assert kept(step(Published(64), x)) > 1.9 * size


def test_the_published_form_is_the_one_that_surgeon_has():
    """Rivals do the same arithmetic."""
    torch.manual_seed(0)
    ours, rival, x = build("cbam", 32, init="paper").eval(), Published(32).eval(), torch.randn(2, 32, 9, 7)
    torch.nn.init.ones_(ours.spatial.bn.weight)
    with torch.no_grad():
        for one, other in (
            (rival.mlp[1], ours.channel.fc1),
            (rival.mlp[3], ours.channel.fc2),
            (rival.conv, ours.spatial.conv),
        ):
            one.weight.copy_(other.weight)
            if one.bias is not None:
                one.bias.copy_(other.bias)
        torch.testing.assert_close(rival(x), ours(x))
