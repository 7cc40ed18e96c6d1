"""Every way in, every way out: the same tensors, bit for bit, and the same outputs."""

import json
import warnings
from collections import OrderedDict
from copy import deepcopy

import pytest
import safetensors.torch
import timm
import torch
from packaging.version import Version

import surgeon
from surgeon.checkpoints.prefix import unprefixed
from surgeon.cli import run
from surgeon.files import convert, intake
from surgeon.networks import library
from tests.shared.bits import assert_same_bits, same_bits
from tests.shared.folders import from_folder
from tests.shared.pairs import pairs
from tests.shared.small import TINY, output, stir, tiny

pytestmark = pytest.mark.network

NETWORKS = {
    "resnet18": ("torchvision:resnet18", "residual"),
    "mobilenet_v3": ("torchvision:mobilenet_v3_small", "residual"),
    "convnext": ("timm:convnext_atto", "residual"),
    "swin": ("torchvision:swin_t", "bottleneck"),
    "detector": ("torchvision:ssdlite320_mobilenet_v3_large", "residual"),
}


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture(params=NETWORKS)
def network(request, made):
    """(name, place, a network with attention that does something, the same without it), made once whatever the order of the tests."""
    if request.param not in made:
        name, place = NETWORKS[request.param]
        plain = library.build(name, num_classes=7)
        made[request.param] = name, place, stir(surgeon.inject(deepcopy(plain), "cbam", where=place)), plain
    return made[request.param]


def said(model):
    """What a network says to noise; a detector's backbone in its place."""
    return (
        torch.cat(
            [
                value.flatten()
                for value in model.backbone(
                    torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
                ).values()
            ]
        )
        if hasattr(model, "backbone")
        else output(model)
    )


def nested(model):
    return {
        "epoch": 3,
        "arch": "whatever",
        "state_dict": OrderedDict((f"module.{key}", value) for key, value in model.state_dict().items()),
    }


INPUTS = {
    "plain.pth": lambda model, path: torch.save(model.state_dict(), path),
    "nested.pth.tar": lambda model, path: torch.save(nested(model), path),
    "lightning.ckpt": lambda model, path: torch.save(
        {"state_dict": {f"model._orig_mod.{k}": v for k, v in model.state_dict().items()}, "loops": {}}, path
    ),
    "stock.safetensors": lambda model, path: safetensors.torch.save_file(model.state_dict(), path),
    "whole.pt": lambda model, path: torch.save(model, path),
}


@pytest.mark.parametrize(
    ("network", "kind", "target"),
    pairs([*NETWORKS], [*INPUTS], ["out.safetensors", "out.pth", "out"]),
    indirect=["network"],
)
def test_what_comes_in_goes_out_and_comes_back(network, kind, target, tmp_path):
    """Each network out of each kind of file, and into each as into each other: a way in knows nothing of the way out."""
    name, place, _, plain = network
    INPUTS[kind](plain, tmp_path / kind)
    with torch.no_grad():
        expected = said(plain)
    assert (
        run(
            [
                "inject",
                str(tmp_path / kind),
                "--arch",
                name,
                "--attention",
                "cbam",
                "--where",
                place,
                "--allow-pickle",
                "-q",
                "-o",
                str(tmp_path / target),
            ]
        )
        == 0
    )
    loaded = surgeon.load(tmp_path / target)
    with torch.no_grad():
        assert torch.equal(said(loaded), expected)
    back = tmp_path / f"back_{target}.safetensors"
    assert run(["strip", str(tmp_path / target), "-o", str(back), "-q"]) == 0
    tensors = unprefixed(intake.open_file(back).tensors, plain.state_dict())[0]
    assert_same_bits(dict(sorted(tensors.items())), dict(sorted(plain.state_dict().items())))


@pytest.mark.parametrize("target", ["a.safetensors", "a.pth", "folder"])
def test_trained_attention_survives_every_format(network, target, tmp_path):
    _, _, model, _ = network
    surgeon.save(model, tmp_path / target)
    loaded = surgeon.load(tmp_path / target)
    assert_same_bits(model, loaded)
    with torch.no_grad():
        assert torch.equal(said(model), said(loaded))
    assert run(["delta", str(tmp_path / target), "-o", str(tmp_path / "delta.safetensors"), "-q"]) == 0
    assert run(["strip", str(tmp_path / target), "-o", str(tmp_path / "stock.pth"), "-q"]) == 0
    assert (
        run(
            [
                "merge",
                str(tmp_path / "stock.pth"),
                str(tmp_path / "delta.safetensors"),
                "-o",
                str(tmp_path / "merged.safetensors"),
                "-q",
            ]
        )
        == 0
    )
    assert_same_bits(model, surgeon.load(tmp_path / "merged.safetensors"))


def test_timm_opens_the_folder_with_the_attention_in_it(network, tmp_path):
    _, _, model, _ = network
    surgeon.save(model, tmp_path / "folder")
    opened = from_folder(tmp_path / "folder", pretrained=True).eval()
    assert_same_bits(model, opened)
    assert len(surgeon.attention_modules(opened)) == len(surgeon.attention_modules(model))


def test_timm_gives_the_folder_another_head(tmp_path):
    model = tiny()
    surgeon.save(model, tmp_path / "folder")
    opened = from_folder(tmp_path / "folder", pretrained=True, num_classes=9)
    assert opened.fc.out_features == 9
    assert_same_bits(opened.state_dict()["conv1.0.weight"], model.state_dict()["conv1.0.weight"])
    untrained = from_folder(tmp_path / "folder")
    assert list(untrained.state_dict()) == list(model.state_dict()) and not same_bits(untrained, model)


def test_a_timm_folder_needs_no_name(tmp_path):
    model = tiny(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        timm.models._hub.save_config_for_hf(model, tmp_path / "config.json")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert run(["inject", str(tmp_path), "--attention", "cbam", "-o", str(tmp_path / "out"), "-q"]) == 0
    assert torch.equal(output(surgeon.load(tmp_path / "out")), output(model))
    assert run(["strip", str(tmp_path / "out"), "-o", str(tmp_path / "back"), "-q"]) == 0
    if Version(timm.__version__) < Version("1.0.26"):
        pytest.skip(f"timm {timm.__version__} reads no .safetensors of a folder, its own neither: 1.0.26 does")
    again = from_folder(tmp_path / "back", pretrained=True)
    assert_same_bits(model, again)


def resumable(model, **more):
    """A checkpoint as a training script writes it after one step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    return {"epoch": 3, "arch": "test_resnet", "best_acc1": 0.5, "optimizer": optimizer.state_dict()} | more


def test_a_checkpoint_keeps_its_shape_and_strip_gives_it_back(tmp_path):
    model = tiny(None)
    whole = resumable(model)
    whole["state_dict"] = {f"module.{key}": value for key, value in model.state_dict().items()}
    whole["state_dict_ema"] = {
        key: value * 2 if value.is_floating_point() else value for key, value in whole["state_dict"].items()
    }
    torch.save(whole, tmp_path / "in.pth")
    assert run(["inject", str(tmp_path / "in.pth"), "--attention", "cbam", "-o", str(tmp_path / "out.pth"), "-q"]) == 0
    found = torch.load(tmp_path / "out.pth", weights_only=True)
    assert list(found) == list(whole) and found["epoch"] == 3
    fresh = set(found["state_dict"]) - set(whole["state_dict"])
    assert fresh and all(key.startswith("module.") and ".cbam." in key for key in fresh)
    assert set(found["state_dict_ema"]) == set(found["state_dict"])
    assert run(["strip", str(tmp_path / "out.pth"), "-o", str(tmp_path / "back.pth"), "-q"]) == 0
    assert_same_bits(torch.load(tmp_path / "back.pth", weights_only=True), whole)


def test_the_average_is_taken_on_request(tmp_path):
    model, average = tiny(None, seed=1), tiny(None, seed=2)
    torch.save(
        {"arch": "test_resnet", "state_dict": model.state_dict(), "state_dict_ema": average.state_dict()},
        tmp_path / "in.pth",
    )
    assert_same_bits(intake.open_source(tmp_path / "in.pth").model, model)
    assert_same_bits(intake.open_source(tmp_path / "in.pth", ema=True).model, average)


def test_a_key_order_of_its_own_comes_back(tmp_path):
    tensors = OrderedDict(reversed(tiny(None).state_dict().items()))
    torch.save(tensors, tmp_path / "in.pth")
    for target in ("out.pth", "out.safetensors"):
        assert (
            run(
                [
                    "inject",
                    str(tmp_path / "in.pth"),
                    "--arch",
                    TINY,
                    "--attention",
                    "cbam",
                    "-o",
                    str(tmp_path / target),
                    "-q",
                ]
            )
            == 0
        )
        assert run(["strip", str(tmp_path / target), "-o", str(tmp_path / "back.pth"), "--force", "-q"]) == 0
        assert_same_bits(dict(torch.load(tmp_path / "back.pth", weights_only=True)), dict(tensors))


def test_step_counters_that_old_files_lack_are_not_invented(tmp_path):
    tensors = {key: value for key, value in tiny(None).state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(tensors, tmp_path / "old.pth")
    assert (
        run(
            [
                "inject",
                str(tmp_path / "old.pth"),
                "--arch",
                TINY,
                "--attention",
                "cbam",
                "-o",
                str(tmp_path / "out.safetensors"),
                "-q",
            ]
        )
        == 0
    )
    assert run(["strip", str(tmp_path / "out.safetensors"), "-o", str(tmp_path / "back.pth"), "-q"]) == 0
    assert_same_bits(dict(torch.load(tmp_path / "back.pth", weights_only=True)), tensors)


@pytest.mark.parametrize("target", ["out.pth", "out.safetensors", "out.pt2"])
def test_an_output_that_moved_leaves_the_old_file(target, tmp_path, monkeypatch, capsys):
    torch.save({"arch": "test_resnet", "state_dict": tiny(None).state_dict()}, tmp_path / "in.pth")
    (tmp_path / target).write_text("old")
    monkeypatch.setattr(convert, "_after", lambda model, inputs: [torch.ones(2, 4)])
    assert (
        run(["inject", str(tmp_path / "in.pth"), "--attention", "cbam", "-o", str(tmp_path / target), "--force", "-q"])
        == 3
    )
    assert "the output differs from the original's by up to" in capsys.readouterr().err
    assert (tmp_path / target).read_text() == "old" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("whole", "told"),
    [
        ({"epoch": 3}, "holds no weights: it has epoch."),
        ([1, 2], "holds no weights: it is a list."),
        ({}, "holds no weights"),
        ({"arch": "zf_net", "state_dict": {"a": torch.zeros(1)}}, "It says 'zf_net', which neither library knows."),
        ({"a": torch.zeros(1)}, "does not say which network it is for. Name it: --arch torchvision:NAME or timm:NAME."),
        ({"arch": "resnet18", "state_dict": {"conv1.weight": torch.zeros(1)}}, "has 122 tensors"),
    ],
)
def test_a_checkpoint_that_is_for_nothing_is_refused_in_words(whole, told, tmp_path):
    torch.save(whole, tmp_path / "in.pth")
    with pytest.raises(surgeon.SurgeonError, match=told) as caught:
        intake.open_source(tmp_path / "in.pth")
    assert "\n" not in str(caught.value)


def test_json_says_what_was_done(tmp_path, capsys):
    torch.save(nested(tiny(None)) | {"arch": "test_resnet"}, tmp_path / "in.pth")
    assert (
        run(["inject", str(tmp_path / "in.pth"), "--attention", "cbam", "-o", str(tmp_path / "out.pth"), "--json"]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["moved"] == 0 and told["added"] > 0 and "keys begin with 'module.'" in told["notes"][0]


def test_weights_and_their_average_keep_prefixes_of_their_own(tmp_path):
    model, average = tiny(None, seed=1), tiny(None, seed=2)
    wrapped = {f"module.{key}": value for key, value in average.state_dict().items()}
    whole = {"arch": "test_resnet", "state_dict": model.state_dict(), "state_dict_ema": wrapped}
    torch.save(whole, tmp_path / "in.pth")
    assert run(["inject", str(tmp_path / "in.pth"), "--attention", "cbam", "-o", str(tmp_path / "out.pth")]) == 0
    found = torch.load(tmp_path / "out.pth", weights_only=True)
    own, averaged = found["state_dict"], found["state_dict_ema"]
    assert list(averaged) == [f"module.{key}" for key in own] and any("cbam" in key for key in own)
    assert run(["strip", str(tmp_path / "out.pth"), "-o", str(tmp_path / "back.pth")]) == 0
    assert_same_bits(torch.load(tmp_path / "back.pth", weights_only=True), whole)
