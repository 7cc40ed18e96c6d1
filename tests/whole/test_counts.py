"""How many sites well-known networks have, where they lie, and who sees the attention there."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models import detection

import surgeon
from surgeon.networks import library
from tests.shared import toy
from tests.shared.bits import assert_same_bits

pytestmark = pytest.mark.network

COUNTS = {
    "torchvision:resnet50": (16, 3, 1),
    "torchvision:resnet18": (8, 3, 1),
    "torchvision:mobilenet_v2": (10, 3, 1),
    "torchvision:convnext_tiny": (18, 3, 1),
    "timm:convnext_tiny": (18, 3, 1),
    "torchvision:vgg16_bn": (0, 4, 1),
    "torchvision:densenet121": (0, 3, 1),
    "timm:vit_base_patch16_224": (24, 0, 1),
    "torchvision:swin_t": (24, 3, 1),
    "timm:nf_resnet50": (16, 3, 1),
    "timm:regnetx_002": (13, 3, 1),
    "torchvision:r3d_18": (8, 3, 1),
    "torchvision:efficientnet_b1": (16, 3, 1),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    found = surgeon.places(library.build(name, empty=True))
    assert tuple(found[place] for place in ("residual", "bottleneck", "final")) == COUNTS[name]
    assert found["input"] == 1


def owners(model, where):
    return [str(site) for site in surgeon.plan(model, "cbam", where=where)]


def test_residual_sites_of_resnet50():
    blocks = [f"layer{stage}.{block}" for stage, count in enumerate((3, 4, 6, 3), 1) for block in range(count)]
    model = library.build("torchvision:resnet50", empty=True)
    assert owners(model, "residual") == [f"{block}: after bn3" for block in blocks]
    assert owners(model, "bottleneck") == [f"layer{stage}: after output" for stage in (1, 2, 3)]
    assert owners(model, "final") == ["layer4: after output"]
    assert owners(model, "input") == ["conv1: after input"]


def test_pooling_boundaries_of_vgg():
    model = library.build("torchvision:vgg16_bn", empty=True)
    pools = [index for index, layer in enumerate(model.features) if isinstance(layer, nn.MaxPool2d)]
    assert owners(model, "bottleneck") == [f"features.{index - 1}: after output" for index in pools[1:]]


def test_dense_blocks_of_densenet():
    model = library.build("torchvision:densenet121", empty=True)
    assert owners(model, "bottleneck") == [f"features.denseblock{number}: after output" for number in (1, 2, 3)]


def test_a_site_in_full():
    site = surgeon.plan(library.build("torchvision:resnet50", empty=True), "cbam").sites[0]
    assert (site.module, site.after, site.place) == ("layer1.0", "bn3", "residual")
    assert (site.channels, site.size, site.layout, site.prefix) == (256, (56, 56), "NCHW", 0)
    # 256 x 16 + 16 and 16 x 256 + 256 in the MLP, 2 x 7 x 7 and 2 for the norm in the convolution.
    assert site.parameters == 256 * 16 + 16 + 16 * 256 + 256 + 2 * 49 + 2
    # The MLP runs for both pools.
    assert site.macs == 2 * 2 * 256 * 16 + 2 * 49 * 56 * 56


def calls(model, run):
    """How often each gate is asked while `run` runs."""
    gates = surgeon.attention_modules(model)
    for gate in gates.values():
        gate.calls = 0
    with torch.no_grad():
        run()
    return {path: gate.calls for path, gate in gates.items()}


@pytest.mark.filterwarnings("ignore::surgeon.errors.UnusedSite")  # a class token alone is read behind some of the sites
@pytest.mark.parametrize("where", ["residual", "final", "input"])
@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "densenet121", "mobilenetv3_small_050"]
)
def test_forward_features(name, where):
    model, x = timm.create_model(name).eval(), torch.randn(1, 3, 160, 160)
    if where not in [place for place, count in surgeon.places(model).items() if count]:
        assert name in ("test_efficientnet", "densenet121") and where == "residual"
        return
    surgeon.inject(model, toy.Mark, where=where)
    assert set(calls(model, lambda: model.forward_features(x)).values()) == {1}
    assert set(calls(model, lambda: model(x)).values()) == {1}


@pytest.mark.parametrize("kind", [None, "hook", "dict"])
@pytest.mark.parametrize("where", ["residual", "bottleneck", "final"])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_features_only(name, where, kind):
    options = {} if kind is None else {"feature_cls": kind}
    model = timm.create_model(name, features_only=True, **options).eval()
    surgeon.inject(model, toy.Mark, where=where)
    assert set(calls(model, lambda: model(torch.randn(1, 3, 96, 96))).values()) == {1}


def test_intermediate_features_of_a_transformer():
    model = surgeon.inject(timm.create_model("test_vit").eval(), toy.Mark)
    assert set(calls(model, lambda: model.forward_intermediates(torch.randn(1, 3, 160, 160))).values()) == {1}


# SSD goes on downsampling behind the backbone, in the six levels that it detects on.
DETECTORS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": (10, 3),
    "ssdlite320_mobilenet_v3_large": (10, 6),
    "fcos_resnet50_fpn": (16, 3),
    "retinanet_resnet50_fpn": (16, 3),
    "maskrcnn_resnet50_fpn_v2": (16, 3),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_places_of_detectors(name):
    found = surgeon.places(library.build(f"torchvision:{name}", empty=True))
    assert (found["residual"], found["bottleneck"]) == DETECTORS[name]


@pytest.mark.parametrize("name", [name for name in DETECTORS if "mobilenet" in name])
def test_detectors_as_a_whole(name):
    model = library.build(f"torchvision:{name}")
    images = [torch.rand(3, 96, 96), torch.rand(3, 80, 120)]
    with torch.no_grad():
        before = model(images)
        surgeon.inject(model, toy.Mark, where=["residual", "bottleneck"])
        after = model(images)
    assert_same_bits(after, before)
    assert all(path.startswith("backbone.") for path in surgeon.attention_modules(model))
    assert set(calls(model, lambda: model(images)).values()) == {1}


def test_backbone_taken_out_of_a_detector_sees_it():
    model = detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None).eval()
    surgeon.inject(model.backbone, toy.Mark, where=["residual", "final"])
    assert set(calls(model, lambda: model.backbone(torch.randn(1, 3, 64, 64))).values()) == {1}
    assert set(calls(model, lambda: model([torch.rand(3, 96, 96)])).values()) == {1}


def test_segmentation_with_two_heads():
    model = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True).eval()
    surgeon.inject(model, toy.Mark, where=["residual", "final"])
    assert set(calls(model, lambda: model(torch.randn(1, 3, 64, 64))).values()) == {1}
