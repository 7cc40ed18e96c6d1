"""Which inputs are tried on a network that nobody gave an example for."""

import pytest
import timm
import torch
import torchvision
from torch import nn

import surgeon
from surgeon.errors import BadInput
from surgeon.trace import inputs
from tests.shared import toy

pytestmark = pytest.mark.network


@pytest.mark.parametrize("given", [torch.zeros(1, 3), (torch.zeros(1, 3),), [torch.zeros(1, 3)]])
def test_positional_examples(given):
    (x,), kwargs = inputs.given(given, "meta")
    assert x.is_meta and x.shape == (1, 3) and kwargs == {}


def test_keywords_and_nested_tensors():
    args, kwargs = inputs.given({"maps": [torch.zeros(1), (torch.ones(2), "text")], "flag": True}, "meta")
    assert args == () and kwargs["flag"] is True
    assert kwargs["maps"][0].is_meta and kwargs["maps"][1][0].is_meta and kwargs["maps"][1][1] == "text"


def test_anything_else_is_refused():
    with pytest.raises(
        BadInput,
        match="example_inputs must be a tensor, a tuple of arguments, a dict or a text such as '1x3x64x64', not bytes.",
    ):
        inputs.given(b"224", "cpu")


def first(model):
    return inputs.guesses(model)[0]


def test_a_network_that_says_what_it_takes():
    assert first(timm.create_model("test_vit")) == (3, 160, 160)
    assert first(timm.create_model("test_resnet", in_chans=5)) == (3, 160, 160)
    assert (5, 160, 160) in inputs.guesses(timm.create_model("test_resnet", in_chans=5))
    assert first(timm.create_model("test_vit", img_size=(64, 96))) == (3, 64, 96)
    assert first(torchvision.models.VisionTransformer(64, 16, 1, 2, 32, 64)) == (3, 64, 64)


def test_a_network_whose_first_convolution_does():
    assert first(toy.Net()) == (3, 224, 224)
    assert first(nn.Sequential(nn.Conv2d(1, 4, 3))) == (1, 224, 224)
    assert first(nn.Sequential(nn.Conv3d(3, 4, 3))) == (3, 16, 224, 224)
    assert first(nn.Sequential(nn.Linear(3, 4))) == (3, 224, 224)
    assert inputs.guesses(nn.Sequential(nn.Conv1d(1, 4, 3))) == []


@pytest.mark.parametrize("channels", [1, 5])
def test_other_numbers_of_channels(channels):
    model = timm.create_model("test_resnet", in_chans=channels).eval()
    x = torch.randn(1, channels, 64, 64)
    y = model(x)
    assert torch.equal(surgeon.inject(model, "cbam", where=["residual", "input"])(x), y)


def test_no_guess_for_sound():
    with pytest.raises(BadInput) as caught:
        surgeon.places(nn.Sequential(nn.Conv1d(1, 4, 3)))
    assert (
        str(caught.value)
        == "can't guess an input for Sequential: pass example_inputs=, such as torch.zeros(2, 3, 224, 224)."
    )
