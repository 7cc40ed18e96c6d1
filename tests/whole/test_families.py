"""A network of each family, of both libraries: old bits, old gradients, old keys, and back again."""

from collections import OrderedDict

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.utils._pytree import tree_leaves
from torchvision.models import segmentation, video

import surgeon
from surgeon.errors import NoSite
from tests.shared.bits import assert_same_bits, same_bits
from tests.shared.operated import swin

pytestmark = pytest.mark.network


def vgg():
    """VGG's features in little, with a head of one layer."""
    features = torchvision.models.vgg.make_layers([8, 8, "M", 16, 16, "M", 16, 16, "M", 32, "M"], batch_norm=True)
    return nn.Sequential(
        OrderedDict(features=features, pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(32, 4))
    )


# Small builds of real families; one line each, with the side of the image.
FAMILIES = {
    "resnet": (lambda: torchvision.models.resnet18(num_classes=4), 64),
    "mobilenet_v3": (lambda: torchvision.models.mobilenet_v3_small(num_classes=4), 64),
    "efficientnet_v2": (lambda: timm.create_model("test_efficientnet"), 64),
    "densenet": (lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=4), 64),
    "shufflenet": (lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=4), 64),
    "squeezenet": (lambda: torchvision.models.squeezenet1_1(num_classes=4), 64),
    "vgg": (lambda: vgg(), 64),
    "regnet": (lambda: torchvision.models.regnet_y_400mf(num_classes=4), 64),
    "timm's regnet": (lambda: timm.create_model("regnetx_002"), 64),
    "timm's densenet": (lambda: timm.models.DenseNet(8, (2, 2, 2), num_classes=4), 64),
    "convnext": (lambda: timm.create_model("test_convnext"), 64),
    "nfnet": (lambda: timm.create_model("test_nfnet"), 64),
    "vit": (lambda: timm.create_model("test_vit"), 160),
    "vit with registers": (lambda: timm.create_model("test_vit3"), 160),
    "relative positions": (lambda: timm.create_model("test_vit_relpos"), 160),
    "swin": (swin, 64),
    "maxvit": (lambda: timm.create_model("test_maxvit"), 160),
    "mambaout": (lambda: timm.create_model("test_mambaout"), 160),
    "mixer": (lambda: timm.create_model("mixer_s32_224", img_size=64), 64),
    "rows of pixels": (lambda: timm.create_model("mobilevitv2_050"), 128),
    "segmentation": (
        lambda: segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4),
        64,
    ),
    "video": (lambda: video.r3d_18(num_classes=4), (8, 32, 32)),
}
PLACES = ("residual", "bottleneck", "final", "input")
# What a reader of the architecture expects to be missing, and why.
MISSING = {
    "densenet": {"residual"},  # concatenates
    "timm's densenet": {"residual"},
    "shufflenet": {"residual"},  # concatenates
    "squeezenet": {"residual"},  # concatenates
    "vgg": {"residual"},  # has no shortcuts
    "efficientnet_v2": {"residual"},  # this tiny build never repeats a block
    "vit": {"bottleneck"},  # one size from start to end
    "vit with registers": {"bottleneck"},
    "relative positions": {"bottleneck"},
    "mixer": {"bottleneck"},
}


def built(family):
    torch.manual_seed(0)
    build, side = FAMILIES[family]
    shape = side if isinstance(side, tuple) else (side, side)
    return build(), torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))


def step(model, x, weights):
    """Outputs, gradients of `weights` and buffers after one step, with the same random numbers each time."""
    torch.manual_seed(0)
    outputs = [leaf for leaf in tree_leaves(model(x)) if isinstance(leaf, torch.Tensor)]
    model.zero_grad()
    sum(leaf.square().mean() for leaf in outputs).backward()
    return [*outputs, *(weight.grad if weight.grad is None else weight.grad.clone() for weight in weights)]


def both_modes(model, x, weights, buffers):
    found = {}
    start = [buffer.clone() for buffer in buffers]
    for training in (False, True):
        found[training] = step(model.train(training), x, weights)
    found["buffers"] = [buffer.clone() for buffer in buffers]
    for buffer, number in zip(buffers, start):
        buffer.data.copy_(number)
    return found


def skeleton(model):
    """Each module's object and class, and each key's tensor object, in order."""
    modules = [(path, id(module), type(module)) for path, module in model.named_modules(remove_duplicate=False)]
    return modules, [(key, id(tensor)) for key, tensor in model.state_dict(keep_vars=True).items()]


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(item in rest for item in part)


@pytest.mark.filterwarnings("ignore::surgeon.errors.UnusedSite")  # a class token alone is read behind some of the sites
@pytest.mark.parametrize("family", FAMILIES)
def test_old_bits_and_back(family):
    model, x = built(family)
    weights, buffers, before = list(model.parameters()), list(model.buffers()), skeleton(model)
    expected = both_modes(model, x, weights, buffers)
    found = set()
    for number, place in enumerate(PLACES):
        try:
            surgeon.inject(model, ("cbam", "bam")[number % 2], where=place, example_inputs=x)
        except NoSite:
            continue
        found.add(place)
        assert_same_bits({place: both_modes(model, x, weights, buffers)}, {place: expected})
        assert is_subsequence(before[1], skeleton(model)[1])
    assert set(PLACES) - found == MISSING.get(family, set())
    surgeon.remove(model)
    assert skeleton(model) == before


@pytest.mark.filterwarnings("ignore::surgeon.errors.UnusedSite")  # a class token alone is read behind some of the sites
@pytest.mark.parametrize("attention", ["cbam", "bam"])
@pytest.mark.parametrize("family", ["resnet", "densenet", "vit", "swin", "segmentation"])
def test_every_place_alone(family, attention):
    model, x = built(family)
    weights, buffers, before = list(model.parameters()), list(model.buffers()), skeleton(model)
    expected = both_modes(model, x, weights, buffers)
    for place in set(PLACES) - MISSING.get(family, set()):
        surgeon.inject(model, attention, where=place, example_inputs=x)
        assert_same_bits({place: both_modes(model, x, weights, buffers)}, {place: expected})
        assert len(surgeon.attention_modules(model)) > 0
        surgeon.remove(model)
        assert skeleton(model) == before


def test_another_result_is_noticed():
    model, x = built("resnet")
    weights, buffers = list(model.parameters()), list(model.buffers())
    expected = both_modes(model, x, weights, buffers)
    surgeon.inject(model, "cbam", init="paper")
    assert not same_bits(both_modes(model, x, weights, buffers), expected)
