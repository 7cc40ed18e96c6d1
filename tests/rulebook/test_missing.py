"""What an error says of a place that a network does not have."""

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import NoSite
from surgeon.networks import library
from tests.shared import toy

pytestmark = pytest.mark.network

ABSENT = {
    ("timm:test_resnet", "gate"): "none of its 71 graphs multiplies the map it is given by scores made of that map",
    ("torchvision:vgg11", "residual"): "none of its 32 graphs adds two values",
    (
        "timm:repvgg_a0",
        "residual",
    ): "parallel convolutions that are merged into one for deployment; the identity among them is one more kernel, no shortcut",
    (
        "timm:test_vit",
        "bottleneck",
    ): "its map gets smaller only in its stem or right behind it, at patch_embed from 160 x 160",
    (
        "timm:hrnet_w18_small",
        "bottleneck",
    ): "a network that keeps all its resolutions side by side has no stage that ends where the next begins",
}


@pytest.mark.parametrize(("name", "place"), ABSENT)
def test_why_there_is_no_such_place(name, place):
    with pytest.raises(NoSite) as refusal:
        surgeon.plan(library.build(name, empty=True), "cbam", where=place)
    assert f": {ABSENT[name, place]}. Places that do exist here: " in str(refusal.value)


def test_sums_that_are_no_shortcuts_are_counted():
    with pytest.raises(
        NoSite,
        match=r": it has 1 sum, none of a branch and its shortcut \(1 of 1: as much is learned on the one way as on the other\)\. ",
    ):
        surgeon.plan(toy.Net(toy.Twins()), "cbam")


class Among(nn.Module):
    """The tokens of an image among others, as in YOLOS."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.others = nn.Parameter(torch.zeros(1, 3, 8))
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))

    def forward(self, x):
        tokens = self.embed(x).flatten(2).mT
        return self.layers(torch.cat([tokens, self.others.expand(len(x), -1, -1)], 1))[:, -3:]


class Turned(nn.Module):
    """Rows of the image, as a batch of their own."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(32, 5)

    def forward(self, x):
        return self.layer(x.permute(2, 0, 1, 3))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Among, "most of its layers come after its last map, and what they are given is no map of the image"),
        (Turned, "nothing that it makes is a map of the image"),
    ],
)
def test_why_there_is_no_last_map(model, reason):
    with pytest.raises(NoSite) as refusal:
        surgeon.plan(model(), "cbam", where="final", example_inputs=torch.randn(2, 3, 32, 32))
    assert str(refusal.value) == (
        f"'final' found no place in {model.__name__}: {reason}. Places that do exist here: input (1)."
    )
