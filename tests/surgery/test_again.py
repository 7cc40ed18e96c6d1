"""`surgeon.like`: the same operation on a network that was built anew."""

import copy

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import BadModel, BadPlan, LostAttention
from tests.shared import toy


class Deep(toy.Net):
    """A head for some number of classes, and a width."""

    def __init__(self, classes=4, channels=8):
        super().__init__(toy.Residual(channels), channels)
        self.fc = nn.Linear(channels, classes)


class Halves(nn.Module):
    """Somebody's own attention."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x):
        return x * self.weight


def trained(model):
    for weight in surgeon.attention_parameters(model).values():
        nn.init.normal_(weight)
    return model


def operated():
    """Two operations after one another, the second at the same block and with other options."""
    model = surgeon.inject(Deep().eval(), "cbam", reduction=4)
    surgeon.inject(model, "se", where=["block", "down"], init="paper", reduction=2)
    return trained(model)


@torch.no_grad()
@pytest.mark.parametrize("again", [lambda model: model, copy.deepcopy])
def test_the_same_attention_at_the_same_sites(again):
    other = again(operated())
    fresh = Deep().eval()
    old = dict(fresh.named_parameters())
    assert surgeon.like(fresh, other) is fresh
    assert list(surgeon.attention_modules(fresh)) == list(surgeon.attention_modules(other))
    assert [g.site for g in surgeon.attention_modules(fresh).values()] == [
        g.site for g in surgeon.attention_modules(other).values()
    ]
    assert [g.made for g in surgeon.attention_modules(fresh).values()] == [
        g.made for g in surgeon.attention_modules(other).values()
    ]
    assert all(dict(fresh.named_parameters())[key] is weight for key, weight in old.items())
    fresh.load_state_dict(other.state_dict())
    assert torch.equal(fresh(toy.image()), other(toy.image()))
    surgeon.remove(fresh)
    assert dict(fresh.named_parameters()).keys() == old.keys()


def test_weights_are_copied_and_are_their_own():
    fresh, other = Deep(), operated()
    surgeon.like(fresh, other)
    weights = surgeon.attention_parameters(fresh)
    for key, weight in surgeon.attention_parameters(other).items():
        assert torch.equal(weights[key], weight) and weights[key] is not weight


@torch.no_grad()
@pytest.mark.parametrize("attention", [Halves, lambda channels: Halves(channels), toy.Mark, "timm:gc"])
def test_attention_of_any_kind(attention):
    other = trained(surgeon.inject(Deep().eval(), attention))
    fresh = surgeon.like(Deep().eval(), other)
    fresh.load_state_dict(other.state_dict())
    assert torch.equal(fresh(toy.image()), other(toy.image()))


def test_a_head_for_other_classes_is_the_same_network():
    assert len(surgeon.attention_modules(surgeon.like(Deep(classes=7), operated()))) == 3


def test_a_part_that_was_operated_on():
    other = toy.Returns(operated(), tuple)
    fresh = surgeon.like(toy.Returns(Deep(), tuple), other)
    assert list(surgeon.attention_modules(fresh)) == list(surgeon.attention_modules(other))


REFUSALS = {
    "other weights": (toy.TwoAdds, BadPlan, "this TwoAdds is another network than the Deep with attention: its weight 'first.weight' is 'stem.0.weight' there."),
    "another width": (lambda: Deep(channels=16), BadPlan, "this Deep is another network than the Deep with attention: 'block.conv.weight' is 16 x 16 x 3 x 3 and 8 x 8 x 3 x 3 there."),
    "fewer layers": (lambda: nn.Sequential(), BadPlan, "this Sequential is another network than the Deep with attention: it has 0 weights and the other 13; 'stem.0.weight' is there only."),
    "attention already": (lambda: surgeon.inject(Deep(), "se"), BadModel, "this Deep has attention: call surgeon.remove(model) first."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_another_network_is_refused_and_left_as_it_was(case):
    make, error, told = REFUSALS[case]
    model = make()
    keys = list(model.state_dict())
    with pytest.raises(error) as caught:
        surgeon.like(model, operated())
    assert str(caught.value) == told and list(model.state_dict()) == keys


def test_without_attention_there_is_nothing_to_do():
    with pytest.raises(BadModel, match="this Deep has no attention that another network could get."):
        surgeon.like(Deep(), Deep())


def test_what_is_gone_is_told():
    other = operated()
    other.down = Deep().down
    with pytest.warns(LostAttention) as caught:
        fresh = surgeon.like(Deep(), other)
    (warning,) = caught
    assert (
        str(warning.message)
        == "1 of 3 attention modules of this Deep are gone (down.se), and are not put into the other network."
    )
    assert warning.filename == __file__ and len(surgeon.attention_modules(fresh)) == 2
