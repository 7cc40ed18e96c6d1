"""Which values are feature maps, and how their axes lie."""

import pytest
import timm
import torch
from torch import nn

from surgeon.anatomy.maps import FeatureMap
from surgeon.errors import BadInput
from tests.shared import toy
from tests.shared.seen import graph, scene

pytestmark = pytest.mark.network


def output(found, path):
    return found.maps[graph(found, path).outputs[0]]


def test_the_image_and_what_is_made_of_it():
    found = scene(toy.Net())
    assert found.maps[found.maps.image] == FeatureMap(3, (16, 16), "NCHW")
    assert output(found, "stem") == FeatureMap(8, (8, 8), "NCHW")
    assert output(found, "down").pixels == 16
    assert output(found, "fc") is None


def test_channels_last():
    found = scene(toy.Net(toy.ChannelsLast()))
    assert output(found, "block.mlp") == FeatureMap(8, (8, 8), "NHWC")
    assert output(found, "block") == FeatureMap(8, (8, 8), "NCHW")


def test_tokens_know_their_grid_and_what_is_in_front():
    assert output(scene(toy.Tokens()), "block") == FeatureMap(8, (4, 4), "NLC", prefix=1)


def test_registers_of_a_real_transformer():
    found = scene(timm.create_model("test_vit3"), torch.zeros(2, 3, 160, 160))
    assert output(found, "blocks.0").layout == "NLC" and output(found, "blocks.0").size == (10, 10)
    assert output(found, "blocks.0").prefix == timm.create_model("test_vit3").num_prefix_tokens


def test_images_that_are_not_square():
    found = scene(toy.Net(), torch.zeros(2, 3, 16, 24))
    assert output(found, "stem") == FeatureMap(8, (8, 12), "NCHW")


def test_video():
    found = scene(nn.Sequential(nn.Conv3d(3, 4, 3, 2, 1)), torch.zeros(2, 3, 8, 16, 16))
    assert output(found, "0") == FeatureMap(4, (4, 8, 8), "NCDHW")


def test_weights_are_no_maps():
    class Positions(toy.Residual):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.zeros(2, 8, 8, 8))

        def forward(self, x):
            return super().forward(x + self.table.relu())

    found = scene(toy.Net(Positions()))
    relu = graph(found, "block").nodes[0]
    assert relu.op == "relu" and found.maps[relu.outputs[0]] is None


def test_a_network_of_something_else():
    with pytest.raises(BadInput) as caught:
        scene(nn.Sequential(nn.Linear(3, 4)), torch.zeros(2, 3)).maps
    shapes = "N x C x H x W (images), N x C x D x H x W (clips) or N x C x L (signals)"
    assert str(caught.value) == f"the model takes no image: pass example_inputs= of shape {shapes}."
