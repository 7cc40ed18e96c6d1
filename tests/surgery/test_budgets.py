"""`plan(..., budget=...)`: the cheapest sites, as many as can be paid for."""

import pytest
import torch
from torch import nn

import surgeon
from surgeon.anatomy.counting import macs
from surgeon.anatomy.watch import observed
from surgeon.errors import BadOption
from tests.shared import toy


def network():
    return nn.Sequential(
        toy.conv(3, 8), toy.Residual(8), toy.conv(8, 32, 2), toy.Residual(32), toy.conv(32, 8), toy.Residual(8)
    )


IMAGE = torch.zeros(2, 3, 16, 16)


def planned(**budget):
    return surgeon.plan(network(), "cbam", example_inputs=IMAGE, reduction=2, budget=budget or None)


def own(name):
    model = network()
    if name == "parameters":
        return sum(weight.numel() for weight in model.parameters())
    with observed(model, IMAGE) as observation:
        return macs(observation)[observation.scene.graph]


@pytest.mark.parametrize("name", ["macs", "parameters"])
def test_as_many_as_it_pays_for(name):
    whole, total = planned(), own(name)
    costs = sorted(getattr(site, name) for site in whole)
    for count in (1, 2, 3):
        some = planned(**{name: (sum(costs[:count]) + 0.5) / total})
        assert sorted(getattr(site, name) for site in some) == costs[:count]
        assert [site for site in whole if site in some.sites] == [*some]


def test_both_hold():
    some = planned(macs=1.0, parameters=(min(site.parameters for site in planned()) + 0.5) / own("parameters"))
    assert len(some) == 1


REFUSED = {
    "too small": ({"macs": 1e-9}, "this budget pays for none of the 3 sites: the cheapest takes"),
    "unknown": ({"flops": 0.1}, "budget has no 'flops'"),
    "no share": ({"macs": "two"}, "macs must be a share above 0"),
    "nothing": ({"macs": 0}, "macs must be a share above 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case):
    budget, told = REFUSED[case]
    with pytest.raises(BadOption, match=told):
        surgeon.plan(network(), "cbam", example_inputs=IMAGE, budget=budget)


@pytest.mark.parametrize("budget", [{}, 0.02])
def test_no_budget_at_all_is_said_so(budget):
    with pytest.raises(BadOption, match="give shares of the network's own"):
        surgeon.plan(network(), "cbam", example_inputs=IMAGE, budget=budget)
