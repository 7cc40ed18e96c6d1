"""`surgeon.check` tells which attention acts, how often, and why the rest does not."""

import copy
import pickle

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import BadInput
from tests.shared import toy


class Two(nn.Module):
    """A stem and two blocks, one of which can be passed by."""

    skips = False

    def __init__(self, block=toy.Residual):
        super().__init__()
        self.stem, self.one, self.two = toy.conv(3, 8, 2), block(), block()

    def forward(self, x):
        x = self.one(self.stem(x))
        return x if self.skips else self.two(x)


def operated(block=toy.Residual, **options):
    return surgeon.inject(Two(block).eval(), "se", **options)


def fused(block):
    del block.bn


CASES = {
    "as it was": (lambda model: None, {}),
    "switched off": (lambda model: setattr(model.one.se, "enabled", False), {"one.se": "it is switched off"}),
    "a way that leads past": (
        lambda model: setattr(model, "skips", True),
        {"two.se": "two did not run on this example"},
    ),
    "another forward": (
        lambda model: setattr(model.one, "forward", lambda x: x),
        {"one.se": "the forward of one was replaced (<lambda>) by one that does not ask it"},
    ),
    "another class": (
        lambda model: setattr(model.one, "__class__", toy.Residual),
        {"one.se": "the class of one is not the one that asks it any more"},
    ),
    "another module": (
        lambda model: setattr(model, "two", toy.Residual()),
        {"two.se": "it is gone: two is a Residual without it"},
    ),
    "no module": (
        lambda model: (delattr(model, "two"), setattr(model, "skips", True)),
        {"two.se": "it is gone, with two"},
    ),
    "a merged layer": (
        lambda model: fused(model.two),
        {
            "two.se": "the network stops at two: attention (se) stands behind 'bn', which is gone (merged?). "
            "Merge layers first and put attention in afterwards, or choose a place behind the whole module."
        },
    ),
}


@pytest.mark.parametrize("again", [lambda model: model, copy.deepcopy])
@pytest.mark.parametrize("case", CASES)
def test_what_does_not_act_and_why(case, again):
    change, idle = CASES[case]
    model = operated()
    change(model)
    activity = surgeon.check(again(model))
    assert activity.idle == idle and activity.is_whole is not idle
    assert activity.calls == {path: int(path not in idle) for path in ("one.se", "two.se")}


def test_a_way_inside_that_leads_past():
    model = operated(Passes)
    model.one.passes = True
    assert surgeon.check(model).idle == {"one.se": "one ran, and took a way that does not lead through it"}


class Passes(toy.Residual):
    passes = False

    def forward(self, x):
        return x if self.passes else self.bn(self.conv(x)) + x


def test_how_often():
    model = surgeon.inject(toy.Shared(), "se", where="block.bn", example_inputs=torch.zeros(1, 8, 8, 8))
    activity = surgeon.check(model, torch.zeros(1, 8, 8, 8))
    assert activity.calls == {"block.se": 2}
    assert str(activity) == "1 of 1 attention modules act\nblock.se  acts 2 times"


def test_as_text():
    model = operated()
    model.skips = True
    assert str(surgeon.check(model)) == (
        "1 of 2 attention modules act\none.se  acts\ntwo.se  does not act: two did not run on this example"
    )
    assert str(surgeon.check(toy.Net())) == "no attention"


def test_it_changes_nothing():
    model = operated().train()
    model.one.bn.eval()
    before = (
        copy.deepcopy(model.state_dict()),
        [module.training for module in model.modules()],
        [dict(vars(m)) for m in model.modules()],
    )
    surgeon.check(model)
    assert all(torch.equal(old, new) for old, new in zip(before[0].values(), model.state_dict().values()))
    assert [module.training for module in model.modules()] == before[1]
    assert [vars(module).keys() for module in model.modules()] == [held.keys() for held in before[2]]


def test_in_a_larger_network_and_in_a_part():
    model = operated()
    whole = nn.Sequential(nn.Identity(), model)
    whole[1].two = toy.Residual()
    assert list(surgeon.check(whole).idle) == ["1.two.se"]
    assert surgeon.check(pickle.loads(pickle.dumps(whole)).get_submodule("1.one"), torch.zeros(1, 8, 4, 4)).is_whole


def test_a_network_that_does_not_run():
    model = operated()
    with pytest.raises(BadInput, match="Two does not run on an example input"):
        surgeon.check(model, torch.zeros(1, 5, 8, 8))
