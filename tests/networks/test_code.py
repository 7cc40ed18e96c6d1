"""Networks that no library builds, in files: by the name of what makes them."""

import json
import re

import pytest
import torch
import torchvision
from torch import nn

import surgeon
from surgeon.cli import run
from surgeon.files import intake, rebuild, recipe
from surgeon.files.derive import recipe_of
from surgeon.networks import library
from tests.shared.bits import assert_same_bits
from tests.shared.own_networks import Stateful
from tests.shared.small import stir

pytestmark = pytest.mark.network

NAME = f"{__name__}:headed"


def headed(classes=3):
    """As people fine-tune: a library's network with a head and an activation of their own."""
    model = torchvision.models.resnet18()
    model.layer1[0].relu = nn.GELU()
    model.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(512, classes))
    return model


def outputs(model):
    with torch.no_grad():
        return model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)))


def made(**arguments):
    torch.manual_seed(0)
    return headed(**arguments).eval()


def test_saved_under_the_name_of_what_makes_it(tmp_path):
    model = stir(surgeon.inject(made(), "cbam"))
    with pytest.raises(surgeon.SurgeonError, match="what makes it: 'package.module:function'"):
        surgeon.save(model, tmp_path / "a.safetensors")
    surgeon.save(model, tmp_path / "a.safetensors", base=NAME)
    with pytest.raises(
        surgeon.SurgeonError, match=f"the network '{NAME}' is somebody's own code, and loading would import it"
    ):
        surgeon.load(tmp_path / "a.safetensors")
    again = surgeon.load(tmp_path / "a.safetensors", allow_imports=True)
    assert_same_bits(model, again)
    assert torch.equal(outputs(again), outputs(model))
    surgeon.save(again, tmp_path / "b.safetensors")  # it remembers
    assert str(intake.open_surgeon_file(tmp_path / "b.safetensors").recipe.base) == NAME


def test_what_was_changed_since_is_found(tmp_path):
    model = surgeon.inject(made(), "eca", where="final")
    model.fc[0].p = 0.6
    surgeon.save(model, tmp_path / "a.safetensors", base=NAME)
    assert surgeon.load(tmp_path / "a.safetensors", allow_imports=True).fc[0].p == 0.6
    model.layer1[0].relu = nn.ReLU()
    with pytest.raises(surgeon.SurgeonError, match="layer1.0.relu .* a ReLU where the library builds a GELU"):
        surgeon.save(model, tmp_path / "a.safetensors", base=NAME)
    with pytest.raises(surgeon.SurgeonError, match=re.escape("'fc.1.weight' should be 3 x 512 and is 5 x 512")):
        surgeon.save(made(classes=5), tmp_path / "a.safetensors", base=NAME)


def test_through_every_command(tmp_path, capsys):
    model = made(classes=5)
    torch.save({"state_dict": model.state_dict(), "epoch": 4}, tmp_path / "in.pth")
    go = lambda *words: run(
        [str(tmp_path / word) if "." in word and ":" not in word and word[0] != "-" else word for word in words]
    )
    named = (NAME, "--arg", "classes=5", "--weights", "in.pth")
    assert go("places", *named[:3], "--json") == 0 and '"residual": 8' in capsys.readouterr().out
    assert go("plan", *named[:3], "--attention", "cbam", "--json") == 0
    assert go("inject", *named, "--attention", "eca", "-o", "a.safetensors", "-q") == 0
    assert go("inject", "in.pth", "--arch", NAME, "--arg", "classes=5", "--attention", "eca", "-o", "b.pth", "-q") == 0
    for name in ("a.safetensors", "b.pth"):
        assert torch.equal(outputs(surgeon.load(tmp_path / name, allow_imports=True)), outputs(model))
        assert go("show", name) == 0 and f"{NAME}(classes=5)" in capsys.readouterr().out
        assert go("verify", name, "in.pth", "-q") == 2 and "--allow-imports" in capsys.readouterr().err
        assert go("verify", name, "in.pth", "--allow-imports", "-q") == 0
    assert torch.load(tmp_path / "b.pth")["epoch"] == 4
    assert go("strip", "b.pth", "-o", "c.pth", "-q") == 0
    assert_same_bits(torch.load(tmp_path / "c.pth")["state_dict"], model.state_dict())
    assert go("delta", "a.safetensors", "-o", "d.safetensors", "-q") == 0
    assert go("merge", "in.pth", "d.safetensors", "-o", "e.safetensors", "--allow-imports", "-q") == 0
    assert_same_bits(
        surgeon.load(tmp_path / "e.safetensors", allow_imports=True),
        surgeon.load(tmp_path / "a.safetensors", allow_imports=True),
    )


def test_a_checkpoint_does_not_choose_code(tmp_path, capsys):
    """`arch` in a file is the file's word, and names no code to import."""
    torch.save({"state_dict": made().state_dict(), "arch": NAME}, tmp_path / "in.pth")
    assert run(["places", str(tmp_path / "in.pth")]) == 2
    assert f"It says '{NAME}', which neither library knows" in capsys.readouterr().err


def test_a_recipe_does_not_choose_code(tmp_path):
    data = json.loads(
        recipe.to_text(recipe_of(surgeon.inject(library.build("timm:test_resnet"), "eca", where="final")))
    )
    data["base"].update(library="code", name="os:getcwd")
    with pytest.raises(surgeon.SurgeonError, match="'os:getcwd' is somebody's own code"):
        rebuild.rebuild(recipe.from_text(json.dumps(data), "it"))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "hf-hub:nobody/nothing"},
        {"name": "local-dir:/tmp"},
        {"library": "keras"},
        {"library": "torchvision", "name": "../resnet18"},
        {"arguments": {"checkpoint_path": "/etc/passwd"}},
        {"arguments": {"pretrained_cfg": {}}},
        {"arguments": {"norm_layer": "torch.nn.nope.X"}},
        {"library": "torchvision", "name": "fcn_resnet50", "arguments": {"weights_backbone": "DEFAULT"}},
        {"settings": {"bn1": {"eps": "x"}}},
    ],
)
def test_a_recipe_reads_no_files_and_downloads_nothing(change, monkeypatch):
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", None)
    monkeypatch.setattr("timm.models._factory.load_checkpoint", None)
    data = json.loads(
        recipe.to_text(recipe_of(surgeon.inject(library.build("timm:test_resnet"), "eca", where="final")))
    )
    data["base"].update(change)
    with pytest.raises(surgeon.SurgeonError):
        rebuild.rebuild(recipe.from_text(json.dumps(data), "it"), allow_imports=True)


@pytest.mark.parametrize("change", [{"attention": None}, {"options": []}, {"init": 3}])
def test_an_operation_of_other_types_is_no_plan(change):
    data = json.loads(
        recipe.to_text(recipe_of(surgeon.inject(library.build("timm:test_resnet"), "eca", where="final")))
    )
    data["operations"][0].update(change)
    with pytest.raises(surgeon.SurgeonError, match="not a plan"):
        recipe.from_text(json.dumps(data), "it")


@pytest.mark.parametrize("name", ["tests.shared.own_networks:tied", "timm:test_resnet", "resnet18"])
def test_load_reads_files_and_no_names(name):
    with pytest.raises(surgeon.SurgeonError, match="there is no file"):
        surgeon.load(name)


def test_state_that_is_no_tensor_is_refused(tmp_path):
    model = surgeon.inject(Stateful(), "eca", where="conv*")
    with pytest.raises(
        surgeon.SurgeonError, match="'_extra_state' in the state dict is a dict, and a file holds tensors only"
    ):
        surgeon.save(model, tmp_path / "a.safetensors", base="tests.shared.own_networks:Stateful")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("tests.shared.own_networks:exits",), "ends the process when it is imported"),
        ((f"{__name__}:nobody",), "or package.module:Class of something that Python can import"),
        (("torchvison:resnet18",), "No module named 'torchvison'. Write torchvision:NAME, timm:NAME, or"),
        ((NAME, "--arg", "width=2"), "can't be called with width"),
        ((NAME, "--pretrained"), "surgeon knows no pretrained weights of it"),
        ((f"{__name__}:NAME",), "can't be called"),
    ],
)
def test_wrong_names(words, told, tmp_path, capsys):
    assert run(["inject", *words, "--attention", "eca", "-o", str(tmp_path / "a.safetensors")]) == 2
    assert told in capsys.readouterr().err and not any(tmp_path.iterdir())
