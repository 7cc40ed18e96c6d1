"""`surgeon.remove(model, ...)`: some gates out, and the others as if there had never been more."""

import copy

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import UnknownName
from tests.shared import toy


class Deep(nn.Module):
    """Two blocks with two sums each."""

    def __init__(self):
        super().__init__()
        self.stem = toy.conv(3, 8, 2)
        self.one, self.two = toy.TwoAdds(), toy.TwoAdds()

    def forward(self, x):
        return self.two(self.one(self.stem(x)))


def network():
    torch.manual_seed(0)
    model = surgeon.inject(Deep().eval(), "cbam", reduction=4)
    for weight in surgeon.attention_parameters(model).values():
        nn.init.normal_(weight, std=0.3)
    return model


PATHS = ("one.cbam", "one.cbam_1", "two.cbam", "two.cbam_1")


@torch.no_grad()
@pytest.mark.parametrize("gone", [PATHS[:1], PATHS[1:2], ("one",), ("two.*", "one.cbam_1"), ("**",)])
def test_those_that_stay_do_what_they_did(gone):
    model = network()
    whole = copy.deepcopy(model.state_dict())
    gates = [*surgeon.attention_modules(model).values()]
    with surgeon.disabled(model, *gone):
        expected = model(toy.image())
    assert surgeon.remove(model, *gone) is model
    assert torch.equal(model(toy.image()), expected)
    kept = surgeon.attention_modules(model)
    assert all(any(gate is old for old in gates) for gate in kept.values())
    assert surgeon.check(model).is_whole and not surgeon.attention.lost_attention(model)
    if kept:
        assert [*surgeon.attention_modules(surgeon.like(Deep().eval(), model))] == [*kept]
    surgeon.remove(model)
    assert [*model.state_dict()] == [key for key in whole if "cbam" not in key] and type(model.one) is toy.TwoAdds


def test_a_pattern_that_matches_nothing():
    model = network()
    with pytest.raises(UnknownName, match="'three' matches none of the 4"):
        surgeon.remove(model, "three")
    assert [*surgeon.attention_modules(model)] == [*PATHS]
