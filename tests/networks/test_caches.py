"""What a forward leaves in attributes is no setting: neither is it saved, nor does it stand in the way."""

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import BadModel
from surgeon.networks.caches import left_by_a_run
from surgeon.networks.settings import changed
from tests.shared.caching import Anchored, Counting, Deciding, Losing, Tabled

IMAGE = torch.zeros(2, 3, 32, 32)
# Of each network, what a run leaves.
LEFT = {
    Anchored: {("head", "shape"), ("head", "anchors")},
    Tabled: {("", "table"), ("", "sides")},
    Deciding: {("", "largest"), ("", "mean")},
    Counting: set(),
    Losing: set(),
}


@pytest.mark.parametrize("kind", LEFT)
def test_what_a_run_leaves_is_seen_on_a_network_that_has_not_run(kind):
    model = kind().eval()
    before = {path: dict(vars(module)) for path, module in model.named_modules()}
    assert left_by_a_run(model) == LEFT[kind]
    assert all(vars(module).keys() == before[path].keys() for path, module in model.named_modules())
    assert all(
        vars(module)[name] is held for path, module in model.named_modules() for name, held in before[path].items()
    )


@pytest.mark.parametrize("kind", LEFT)
def test_it_is_no_difference(kind):
    model = kind()
    model.train()(IMAGE)
    model.eval()(IMAGE)
    assert changed(model, kind()) == ({"": {"steps": 1}} if kind is Counting else {})


def test_a_setting_beside_a_cache_is_one():
    model = Anchored().eval()
    model(IMAGE)
    model.head.gain = 3.0
    assert changed(model, Anchored()) == {"head": {"gain": 3.0}}


def test_a_tensor_that_no_run_makes_is_still_refused():
    model = Anchored().eval()
    model.head.offsets = torch.ones(2)
    with pytest.raises(BadModel, match="head can't be named in a file: its 'offsets' is not what the library makes"):
        changed(model, Anchored())


def test_the_advice_does_not_go_in_a_circle():
    model = Anchored().eval()
    model.head.offsets = torch.ones(2)
    with pytest.raises(BadModel, match="as you like. Set it in f.$"):
        changed(model, Anchored(), advice="Set it in f.")


def test_a_run_on_the_users_own_example_shows_it():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.seen = Anchored(), ()

        def forward(self, first, *, second):
            self.seen = tuple(first.shape), tuple(second.shape)
            return self.net(first) + self.net(second)

    example = surgeon.trace.inputs.Arguments((IMAGE,), {"second": IMAGE})
    assert left_by_a_run(Pair(), example) == {("net.head", "shape"), ("net.head", "anchors"), ("", "seen")}
