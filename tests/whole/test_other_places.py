"""Where attention goes in networks of other libraries, beside what their classes' source says."""

import pytest
import torch

import surgeon
from tests.shared.bits import assert_same_bits

pytestmark = [pytest.mark.clients]


def segresnet():
    nets = pytest.importorskip("monai.networks.nets", reason="needs monai")
    return nets.SegResNet(spatial_dims=2, in_channels=3, out_channels=2, init_filters=8)


def unet():
    nets = pytest.importorskip("monai.networks.nets", reason="needs monai")
    return nets.UNet(2, 3, 2, (8, 16, 32, 64), (2, 2, 2), num_res_units=2)


def basic_unet():
    nets = pytest.importorskip("monai.networks.nets", reason="needs monai")
    return nets.BasicUNet(2, 3, 2, features=(8, 8, 16, 32, 64, 8))


def dynunet():
    nets = pytest.importorskip("monai.networks.nets", reason="needs monai")
    return nets.DynUNet(2, 3, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[8, 16, 32], res_block=True)


def smp_unet():
    smp = pytest.importorskip("segmentation_models_pytorch", reason="needs segmentation-models-pytorch")
    return smp.Unet("resnet18", encoder_weights=None, classes=21)


# The first level's unit, and the way down to the one at the bottom and up again, level by level.
LEVELS = ["model.1.submodule.", "model.1.submodule.1.submodule."]
TRUTH = {
    segresnet: {
        "residual": [
            *(f"down_layers.{level}.{block}" for level, count in enumerate((1, 2, 2, 4)) for block in range(1, count + 1)),
            *(f"up_layers.{level}.0" for level in range(3)),
        ],
        "bottleneck": ["down_layers.0", "down_layers.1", "down_layers.2"],
        "final": ["act_mod"],
        "input": ["convInit.conv"],
    },
    unet: {
        "residual": [
            "model.0",
            *(f"{level}0" for level in LEVELS),
            f"{LEVELS[1]}1.submodule",
            *(f"{level}2.1" for level in reversed(LEVELS)),
            "model.2.1",
        ],
        "bottleneck": ["model.0", "model.1.submodule.0"],
        "final": ["model.2.0.conv"],
        "input": ["model.0"],
    },
    basic_unet: {
        "residual": [],
        "bottleneck": ["conv_0", "down_1", "down_2", "down_3"],
        "final": ["upcat_1"],
        "input": ["conv_0.conv_0.conv"],
    },
    dynunet: {
        "residual": ["input_block", "downsamples.0", "bottleneck"],
        "bottleneck": ["input_block", "downsamples.0"],
        "final": ["upsamples.1"],
        "input": ["input_block"],
    },
    smp_unet: {
        "residual": [f"encoder.layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)],
        "bottleneck": ["encoder.layer1", "encoder.layer2", "encoder.layer3"],
        "final": ["decoder"],
        "input": ["encoder.conv1"],
    },
}  # fmt: skip


@pytest.mark.parametrize("make", TRUTH)
def test_sites_bits_and_all_is_restored(make):
    torch.manual_seed(0)
    model = make().eval()
    images = [torch.randn(1, 3, side, side) for side in (64, 96)]
    state, before = list(model.state_dict()), repr(model)
    with torch.no_grad():
        old = [model(image) for image in images]
        for place, wanted in TRUTH[make].items():
            for image in images:
                found = surgeon.places(model, example_inputs=image)
                assert found[place] == len(wanted)
                if wanted:
                    plan = surgeon.plan(model, "cbam", where=place, example_inputs=image)
                    assert [site.module for site in plan] == wanted
            if wanted:
                surgeon.apply(model, plan)
                for image, answer in zip(images, old):
                    assert_same_bits(model(image), answer)
                surgeon.remove(model)
            assert list(model.state_dict()) == state and repr(model) == before
