"""What an error says of a place that a network does not have."""

import pytest

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
