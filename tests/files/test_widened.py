"""Networks with a widened input in files: written, read, recognised and taken apart."""

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file

import surgeon
from surgeon.cli import run
from surgeon.errors import BadFile, BadOption
from surgeon.networks import build, parse
from surgeon.networks.identify import fit, infer
from surgeon.networks.library import INPUT
from surgeon.networks.weights import shapes_of
from tests.shared.folders import needed

pytestmark = pytest.mark.network

NETWORKS = {
    "torchvision": lambda: torchvision.models.mobilenet_v3_small(num_classes=5).eval(),
    "timm": lambda: timm.create_model("test_resnet", num_classes=5).eval(),
    "sample": lambda: surgeon.samples.load("digits"),
    "two": lambda: timm.create_model("repvgg_a0", num_classes=5).eval(),
}
IMAGE = torch.randn(2, 6, 64, 64, generator=torch.Generator().manual_seed(0))


def operated(name, where="residual"):
    model = surgeon.widen_input(NETWORKS[name](), 6)
    return surgeon.inject(model, "se", where=where, reduction=2)


@torch.no_grad()
@pytest.mark.parametrize("where", ["final", "input"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_gives_it_back(name, where, tmp_path):
    model = operated(name, where)
    surgeon.save(model, tmp_path / "a.safetensors")
    again = surgeon.load(tmp_path / "a.safetensors")
    assert torch.equal(again(IMAGE), model(IMAGE))


@torch.no_grad()
@needed
def test_a_folder_of_timms(tmp_path):
    model = operated("timm")
    surgeon.save(model, tmp_path / "folder")
    again = timm.create_model(f"local-dir:{tmp_path}/folder", pretrained=True).eval()
    assert torch.equal(again(IMAGE), model(IMAGE))


def test_what_is_kept_of_it():
    assert infer(operated("timm")).arguments["in_chans"] == 6
    assert infer(operated("torchvision")).arguments == {"num_classes": 5, INPUT: {"features.0.0": 6}}
    assert infer(NETWORKS["torchvision"]()).arguments == {"num_classes": 5}


@pytest.mark.parametrize("channels", [1, 4])
def test_a_checkpoint_that_somebody_widened_by_hand(channels, tmp_path):
    model = torchvision.models.resnet18(num_classes=3)
    model.conv1 = torch.nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    words = ["inject", f"{tmp_path}/a.pth", "--arch", "torchvision:resnet18", "--attention", "se", "--quiet"]
    assert run([*words, "--output", f"{tmp_path}/a.safetensors"]) == 0
    again = surgeon.load(tmp_path / "a.safetensors")
    assert torch.equal(again.conv1.weight, model.conv1.weight) and again.conv1.in_channels == channels


def test_the_stock_checkpoint_comes_back(tmp_path):
    model = operated("torchvision")
    surgeon.save(model, tmp_path / "a.safetensors")
    assert run(["strip", f"{tmp_path}/a.safetensors", "--output", f"{tmp_path}/b.safetensors", "--quiet"]) == 0
    stock, own = load_file(tmp_path / "b.safetensors"), surgeon.remove(model).state_dict()
    assert stock.keys() == own.keys() and all(torch.equal(stock[key], own[key]) for key in own)


@pytest.mark.parametrize("asked", [{"nowhere": 6}, {"features": 6}, {"features.0.0": 0}, {"features.0.0": "6"}])
def test_a_file_that_asks_for_what_is_not_there(asked):
    with pytest.raises(BadOption):
        build("torchvision:mobilenet_v3_small", arguments={INPUT: asked}, empty=True)


def test_another_kernel_is_another_network():
    shapes = shapes_of(NETWORKS["torchvision"]())
    with pytest.raises(BadFile, match=r"'features.0.0.weight' should be 16 x 3 x 3 x 3 and is 16 x 6 x 5 x 5"):
        fit(parse("torchvision:mobilenet_v3_small"), shapes | {"features.0.0.weight": (16, 6, 5, 5)})


def test_the_same_attention_on_a_network_built_anew():
    model = operated("torchvision", "input")
    fresh = surgeon.widen_input(NETWORKS["torchvision"](), 6)
    assert list(surgeon.attention_modules(surgeon.like(fresh, model))) == list(surgeon.attention_modules(model))
    with pytest.raises(surgeon.SurgeonError, match=r"16 x 3 x 3 x 3 and 16 x 6 x 3 x 3"):
        surgeon.like(NETWORKS["torchvision"](), model)
