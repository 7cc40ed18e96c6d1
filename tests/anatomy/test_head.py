"""What makes scores or an image of the last map of features, and what is none of that."""

import pytest
import torch
from torch import nn

from surgeon.anatomy.head import head
from tests.shared import strangers, toy
from tests.shared.seen import scene


class Wide(nn.Module):
    """Two layers and a shortcut, as in a transformer's MLP."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Conv2d(8, 32, 1), nn.GELU(), nn.Conv2d(32, 8, 1))

    def forward(self, x):
        return x + self.mlp(x)


# The body makes 8 channels at the image's own size.
HEADS = {
    "a layer": nn.Sequential(nn.Conv2d(8, 21, 1)),
    "bounded": nn.Sequential(nn.Conv2d(8, 3, 1), nn.Tanh()),
    "resized": nn.Sequential(nn.Conv2d(8, 3, 1), nn.Upsample(scale_factor=2), nn.Softmax(dim=1)),
    "of pixels laid in channels": nn.Sequential(nn.Conv2d(8, 12, 1), nn.PixelShuffle(2)),
    "a layer behind it that keeps the channels": nn.Sequential(nn.Conv2d(8, 3, 1), nn.Conv2d(3, 3, 1)),
    "scores that can't be negative": nn.Sequential(nn.Conv2d(8, 1, 1), nn.ReLU()),
    "padded": nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(8, 3, 3)),
    "larger": nn.Sequential(nn.ConvTranspose2d(8, 3, 2, 2)),
    "normalised scores": nn.Sequential(nn.Conv2d(8, 2, 1), nn.BatchNorm2d(2), nn.PReLU()),
}
FEATURES = {
    "normalised": nn.Sequential(toy.conv(8, 16), nn.BatchNorm2d(16)),
    "few and normalised": nn.Sequential(toy.conv(8, 2), nn.BatchNorm2d(2), nn.ReLU()),
    "a neck of two layers": nn.Sequential(nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4), toy.conv(4, 4), nn.BatchNorm2d(4)),
    "as many and normalised": nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)),
    "activated": nn.Sequential(toy.conv(8, 16), nn.ReLU()),
    "a block": strangers.Block(),
    "a block that is wider inside": Wide(),
    "pooled": nn.Sequential(toy.conv(8, 16), nn.MaxPool2d(2)),
    "a stage that begins": nn.Sequential(toy.conv(8, 16, 2)),
    "nothing": nn.Identity(),
}


def network(end):
    body = nn.Sequential(toy.conv(3, 8), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(body, end)


@pytest.mark.parametrize("case", HEADS)
def test_heads(case):
    found = scene(network(HEADS[case]))
    last = head(found.graph, found.maps)
    assert last is not None and last.features is found.graph.children[0].outputs[0]
    assert last.features in last.node.inputs


@pytest.mark.parametrize("case", FEATURES)
def test_features(case):
    found = scene(network(FEATURES[case]))
    assert head(found.graph, found.maps) is None


def test_several_maps_have_no_one_head():
    model = toy.Returns(network(nn.Conv2d(8, 2, 1)), lambda scores: [scores, nn.functional.avg_pool2d(scores, 2)])
    found = scene(model)
    assert head(found.graph, found.maps) is None


def test_the_image_itself_is_no_features():
    found = scene(nn.Sequential(nn.Conv2d(3, 2, 1)), torch.zeros(2, 3, 16, 16))
    assert head(found.graph, found.maps) is None
