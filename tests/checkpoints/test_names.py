"""Checkpoints under the names of other programs and of former versions, as the libraries themselves take them."""

import re

import pytest
import torch

import surgeon
from surgeon.cli import run
from surgeon.files import intake
from surgeon.networks import library
from tests.shared.bits import assert_same_bits
from tests.shared.small import TINY, tiny

pytestmark = pytest.mark.network


def before_renaming(model):
    """A DenseNet's weights as torchvision's own files have them: `norm.1`, and no step counters."""
    return {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value
        for key, value in model.state_dict().items()
        if "num_batches" not in key
    }


def of_facebook(model):
    """A ConvNeXt under its authors' names, which timm's filter knows: `downsample_layers`, `dwconv`, `pwconv1`, `gamma`."""
    renamed = {}
    for key, value in model.state_dict().items():
        key = re.sub(r"^stem\.(\d)", r"downsample_layers.0.\1", key)
        key = re.sub(r"^stages\.(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2", key)
        key = re.sub(r"^stages\.(\d)\.blocks\.", r"stages.\1.", key)
        key = (
            key.replace("conv_dw", "dwconv")
            .replace("mlp.fc", "pwconv")
            .replace("head.norm", "norm")
            .replace("head.fc", "head")
        )
        renamed[key] = value
    return renamed


CASES = {
    "torchvision": ("torchvision:densenet121", 5, before_renaming),
    "timm": ("timm:test_convnext", 1000, of_facebook),
    "timm, head of another size": ("timm:test_convnext", 7, of_facebook),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("front", ["", "module."])
def test_an_official_checkpoint_is_taken_as_its_library_takes_it(case, front, tmp_path, capsys):
    name, classes, renamed = CASES[case]
    torch.manual_seed(0)
    model = library.build(name, num_classes=classes)
    weights = renamed(model)
    assert set(weights) - set(model.state_dict())
    torch.save({"state_dict": {front + key: value for key, value in weights.items()}}, tmp_path / "in.pth")
    assert (
        run(
            [
                "inject",
                str(tmp_path / "in.pth"),
                "--arch",
                name,
                "--attention",
                "eca",
                "--where",
                "bottleneck",
                "-o",
                str(tmp_path / "out.pth"),
            ]
        )
        == 0
    )
    assert f"its keys are not {name}'s own: translated as {name.partition(':')[0]} does" in " ".join(
        capsys.readouterr().out.split()
    )
    loaded = surgeon.load(tmp_path / "out.pth").state_dict()
    kept = {key: value for key, value in model.state_dict().items() if "num_batches" not in key}
    assert_same_bits({key: loaded[key] for key in kept}, kept)


def test_what_timm_refuses_is_refused(tmp_path):
    torch.save({"downsample_layers.0.0.weight": torch.zeros(1), "norm.bias": torch.zeros(7)}, tmp_path / "in.pth")
    with pytest.raises(surgeon.SurgeonError, match="first difference: 'stem.0.weight' is missing"):
        intake.open_source(tmp_path / "in.pth", arch="timm:test_convnext")


def test_a_network_without_a_filter_is_read_by_its_own_keys_only(tmp_path):
    torch.save(
        {key.replace("conv1", "konv1"): value for key, value in tiny(None).state_dict().items()}, tmp_path / "in.pth"
    )
    with pytest.raises(surgeon.SurgeonError, match="is missing"):
        intake.open_source(tmp_path / "in.pth", arch=TINY)
