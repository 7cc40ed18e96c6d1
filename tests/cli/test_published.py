"""`surgeon inject --published`: the authors' weights and timm's, under their own names, to a file of surgeon's."""

import json

import pytest
import timm
import torch
import torchvision

import surgeon
from surgeon.cli import run
from tests.shared.bits import assert_same_bits
from tests.shared.official import official_key, spread

pytestmark = pytest.mark.network

IMAGE = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)).double()


def call(*arguments):
    return run([str(argument) for argument in arguments])


def answers(model):
    with torch.no_grad():
        return model.eval().double()(IMAGE)


def assert_alike(got, want):
    """The same answers but for rounding: an opened gate has s as 1 + 1 * (s - 1), which costs the last bit of a double.

    Fifty random layers multiply that by up to 1e5: over many seeds 1e-14 to 1e-11 of the largest answer. One wrong tensor moves it by far more.
    """
    torch.testing.assert_close(got, want, rtol=0, atol=1e-9 * want.abs().max().item())


def authors(name, attention, where, classes=1000):
    """torchvision's network with trained attention, and its weights as the authors' data-parallel checkpoints name them."""
    model = getattr(torchvision.models, name)(num_classes=classes)
    source = spread(surgeon.inject(model, attention, where=where, init="paper"))
    # torch before 0.4.1, which these were trained with, counted no batches.
    keys = [key for key in source.state_dict() if not key.endswith("num_batches_tracked")]
    return source, {official_key(key): source.state_dict()[key] for key in keys}


@pytest.fixture(scope="module")
def cbam():
    return authors("resnet50", "cbam", "residual")


def written(weights, folder):
    torch.save(weights, folder / "published.pth")
    return folder / "published.pth"


def test_the_authors_cbam(cbam, tmp_path, capsys):
    source, weights = cbam
    assert {
        "module.layer1.0.cbam.ChannelGate.mlp.1.weight",
        "module.layer4.2.cbam.SpatialGate.spatial.bn.running_var",
    } <= weights.keys()
    file, target = (
        written({"epoch": 90, "arch": "resnet50", "state_dict": weights}, tmp_path),
        tmp_path / "out.safetensors",
    )
    assert call("inject", "torchvision:resnet50", "--attention", "cbam", "--published", file, "-o", target) == 0
    printed = capsys.readouterr().out
    assert f"torchvision:resnet50, published weights from {file}" in printed and "bit for bit" not in printed
    assert "every published tensor has its place, and the attention acts in full, as it was trained" in printed
    model = surgeon.load(target)
    assert_alike(answers(model), answers(source))
    assert len(surgeon.attention_modules(model)) == 16


@pytest.mark.parametrize("init", ["identity", "paper"])
def test_the_authors_bam(init, tmp_path, capsys):
    source, weights = authors("resnet18", "bam", "bottleneck", classes=10)
    assert {
        "module.bam1.channel_att.gate_c.gate_c_fc_0.weight",
        "module.bam3.spatial_att.gate_s.gate_s_conv_final.bias",
    } <= weights.keys()
    file, target = written(weights, tmp_path), tmp_path / "out.pth"
    arguments = [
        "torchvision:resnet18",
        "--num-classes",
        "10",
        "--attention",
        "bam",
        "--where",
        "bottleneck",
        "--init",
        init,
        "--published",
        file,
    ]
    assert call("inject", *arguments, "-o", target, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (
        told["moved"] is None
        and told["source"].endswith(f"published weights from {file}")
        and len(told["plan"]["sites"]) == 3
    )
    # The published module has no gamma to round.
    (assert_same_bits if init == "paper" else assert_alike)(answers(surgeon.load(target)), answers(source))
    assert call("show", target) == 0 and "num_classes=10" in capsys.readouterr().out


def test_timms_se(tmp_path):
    source = spread(timm.create_model("seresnet50", num_classes=10)).eval()
    assert "layer1.0.se.fc1.weight" in source.state_dict()
    file, target = written(source.state_dict(), tmp_path), tmp_path / "out.safetensors"
    assert (
        call(
            "inject",
            "timm:resnet50",
            "--num-classes",
            "10",
            "--attention",
            "se",
            "--published",
            file,
            "-o",
            target,
            "-q",
        )
        == 0
    )
    assert_alike(answers(surgeon.load(target)), answers(source))


def test_every_tensor_without_a_place_is_named_and_nothing_is_written(cbam, tmp_path, capsys):
    weights = dict(cbam[1])
    weights["module.layer9.cbam.ChannelGate.mlp.1.weight"] = weights.pop("module.layer2.1.cbam.ChannelGate.mlp.3.bias")
    file = written(weights, tmp_path)
    assert (
        call("inject", "torchvision:resnet50", "--attention", "cbam", "--published", file, "-o", tmp_path / "out.pth")
        == 2
    )
    told = capsys.readouterr().err
    assert told == (
        f"surgeon: {file}: these weights are not this model's: no place for layer9.cbam.ChannelGate.mlp.1.weight; "
        "no tensor for layer2.1.cbam.channel.fc2.bias. Nothing was loaded.\n"
    )
    assert list(tmp_path.iterdir()) == [file]


def test_another_head_is_named(cbam, tmp_path, capsys):
    file = written(cbam[1], tmp_path)
    arguments = ["torchvision:resnet50", "--num-classes", "10", "--attention", "cbam", "--published", file]
    assert call("inject", *arguments, "-o", tmp_path / "out.pth") == 2
    assert "fc.weight is 1000 x 2048, not 10 x 2048; fc.bias is 1000, not 10. Nothing" in capsys.readouterr().err


def test_a_pickled_network_is_read_if_allowed(tmp_path, capsys):
    source = spread(timm.create_model("seresnet18", num_classes=10)).eval()
    file, target = written(source, tmp_path), tmp_path / "out.safetensors"
    arguments = [
        "timm:resnet18",
        "--num-classes",
        "10",
        "--attention",
        "se",
        "--set",
        "divisor=8",
        "--published",
        file,
        "-o",
        target,
    ]
    assert call("inject", *arguments) == 2 and "--allow-pickle" in capsys.readouterr().err
    assert call("inject", *arguments, "--allow-pickle", "-q") == 0
    assert_alike(answers(surgeon.load(target)), answers(source))


REFUSALS = {
    "with weights": (
        ["torchvision:resnet18", "--weights", "x.pth"],
        "--published and --weights are two answers to one question. Give one.",
    ),
    "with pretrained": (
        ["torchvision:resnet18", "--pretrained"],
        "--published and --pretrained are two answers to one question. Give one.",
    ),
    "into a checkpoint": (
        ["resnet18.pth"],
        "--published brings every weight, and resnet18.pth has its own: give torchvision:NAME or timm:NAME",
    ),
    "nowhere": (["torchvision:resnet18"], "there is no file nowhere.pth."),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_use(case, tmp_path, capsys):
    arguments, told = REFUSALS[case]
    assert (
        call("inject", *arguments, "--attention", "se", "--published", "nowhere.pth", "-o", tmp_path / "out.pth") == 2
    )
    assert told in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_help_shows_how(capsys):
    assert call("inject", "--help") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "--attention cbam --published cbam_resnet50.pth" in printed


def test_a_file_with_gammas_of_its_own_is_not_said_to_act_in_full(tmp_path, capsys):
    source = surgeon.inject(torchvision.models.resnet18(num_classes=10), "se", init="identity")
    for value, weight in enumerate(surgeon.attention_parameters(source).values()):
        torch.nn.init.constant_(weight, -0.008 if value == 0 else 0.25)
    weights = {f"net.{key}": value for key, value in source.state_dict().items()}
    file, target = written({"state_dict": weights | {"loss.weight": torch.ones(2)}}, tmp_path), tmp_path / "out.pth"
    arguments = ["torchvision:resnet18", "--num-classes", "10", "--attention", "se", "--published", file, "-o", target]
    assert call("inject", *arguments, "--init", "identity") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "and the attention acts as far as the file's own gammas let it, from -0.008 to 0.25, as it was" in printed
    assert_alike(answers(surgeon.load(target)), answers(source.eval()))
