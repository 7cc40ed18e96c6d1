"""What the weights do not show, set otherwise than the library does: it comes back from a file, or the file is refused."""

import json
from functools import partial

import pytest
import timm
import torch
import torchvision
from torch import nn

import surgeon
from small import TINY
from surgeon import identify, recipe, sources
from surgeon.cli import run
from surgeon.settings import changed, settle


def saved(model, path):
    """`model` with attention, written and read again; and as it was."""
    surgeon.inject(model.eval(), "eca", where="input")
    surgeon.save(model, path / "file.safetensors")
    return surgeon.load(path / "file.safetensors")


def outputs(model, side=64):
    torch.manual_seed(3)
    with torch.no_grad():
        return model(torch.randn(2, 3, side, side))


def with_epsilon(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.5
    return model


# Each computes something else than what its library builds by that name, with the same keys and shapes.
CHANGED = {
    "an epsilon given to the constructor": lambda: torchvision.models.mobilenet_v2(norm_layer=partial(nn.BatchNorm2d, eps=0.5)),
    "an epsilon set afterwards": lambda: with_epsilon(timm.create_model(TINY.removeprefix("timm:"))),
    "strides turned into dilation": lambda: torchvision.models.resnet50(replace_stride_with_dilation=[False, True, True]),
    "a switch in the forward": lambda: torchvision.models.googlenet(transform_input=True, aux_logits=False, init_weights=False),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_settings_come_back(kind, tmp_path):
    torch.manual_seed(0)
    model = CHANGED[kind]().eval()
    base = identify.infer(model)
    expected, stock = outputs(model), sources.build(str(base), arguments=base.arguments)
    stock.load_state_dict(model.state_dict())
    assert not torch.equal(outputs(stock), expected)
    assert torch.equal(outputs(saved(model, tmp_path)), expected)


def test_rates_of_training_come_back(tmp_path):
    model = saved(torchvision.models.mobilenet_v2(dropout=0.7), tmp_path)
    assert model.classifier[0].p == 0.7


def test_another_image_size_comes_back(tmp_path):
    torch.manual_seed(0)
    model = torchvision.models.vit_b_32(image_size=64, num_classes=3).eval()
    expected = outputs(model)
    again = saved(model, tmp_path)
    assert sources.remembered(again).arguments == {"image_size": 64, "num_classes": 3} and torch.equal(outputs(again), expected)


def test_they_stay_through_every_command(tmp_path):
    """A pickled network in; its file exported, stripped, parted and put together: the epsilon is there each time."""
    torch.manual_seed(0)
    model = with_epsilon(sources.build(TINY)).eval()
    torch.save(model, tmp_path / "in.pt")
    torch.save(model.state_dict(), tmp_path / "in.pth")
    go = lambda *words: run([str(tmp_path / word) if "." in word and not word.startswith("-") else word for word in words])
    assert go("inject", "in.pt", "--allow-pickle", "--attention", "eca", "--where", "final", "-o", "a.safetensors", "-q") == 0
    assert go("export", "a.safetensors", "-o", "b.pth", "-q") == 0
    assert go("delta", "b.pth", "-o", "delta.safetensors", "-q") == 0
    assert go("merge", "in.pth", "delta.safetensors", "-o", "c.safetensors", "-q") == 0
    assert go("verify", "c.safetensors", "in.pth", "-q") == 0
    for name in ("a.safetensors", "b.pth", "c.safetensors"):
        assert torch.equal(outputs(surgeon.load(tmp_path / name)), outputs(model))
    assert run(["export", str(tmp_path / "a.safetensors"), "-o", str(tmp_path / "folder"), "-q"]) == 0
    assert torch.equal(outputs(timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True).eval()), outputs(model))


def test_a_timm_folder_has_no_words_for_them(tmp_path, capsys):
    model = surgeon.inject(with_epsilon(sources.build(TINY)), "eca", where="final")
    surgeon.save(model, tmp_path / "a.safetensors")
    assert run(["strip", str(tmp_path / "a.safetensors"), "-o", str(tmp_path / "folder"), "-q"]) == 2
    assert "a .pth or a .safetensors" in capsys.readouterr().err and not (tmp_path / "folder").exists()


def resnet(change):
    def made():
        model = torchvision.models.resnet18()
        return change(model) or model

    return made


class Doubled(torchvision.models.ResNet):
    def forward(self, x):
        return 2 * super().forward(x)


def doubled():
    return Doubled(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2])


REFUSED = {
    "another activation": (resnet(lambda model: setattr(model.layer1[0], "relu", nn.GELU())), "layer1.0.relu .* a GELU where the library builds a ReLU"),
    "a forward on the object": (resnet(lambda model: setattr(model, "forward", lambda x: x)), "the network itself .* its 'forward' is a function"),
    "a class of one's own": (doubled, "the network itself .* a Doubled where the library builds a ResNet"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_file_cannot_hold_is_refused(kind, tmp_path):
    made, told = REFUSED[kind]
    model = made()
    with pytest.raises(surgeon.SurgeonError, match=told):
        surgeon.save(model, tmp_path / "file.safetensors", base="torchvision:resnet18")
    assert not (tmp_path / "file.safetensors").exists()


class Scaled(nn.Module):
    """A function and a table on the object, neither of them in the state dict."""

    def __init__(self, function=torch.relu, table=1.0):
        super().__init__()
        self.function, self.unread = function, function
        self.register_buffer("table", torch.full((2,), table), persistent=False)

    def forward(self, x):
        return self.function(x) * self.table.sum()


def test_functions_and_tables_are_compared():
    assert changed(Scaled(), Scaled()) == {}
    with pytest.raises(surgeon.SurgeonError, match="its 'function' is a function that the library does not set"):
        changed(Scaled(torch.tanh), Scaled())
    with pytest.raises(surgeon.SurgeonError, match="its table 'table' holds other numbers"):
        changed(Scaled(table=2.0), Scaled())
    unread = Scaled()
    unread.unread = torch.tanh  # no forward asks for it
    assert changed(unread, Scaled()) == {}


def test_synchronised_norms_count_as_norms():
    model = torchvision.models.resnet18()
    twin = nn.SyncBatchNorm.convert_sync_batchnorm(torchvision.models.resnet18())
    assert changed(twin, model) == {}


def test_attention_is_no_change():
    model = surgeon.inject(torchvision.models.resnet18(), "cbam")
    assert changed(model, torchvision.models.resnet18()) == {} and identify.infer(model) == sources.Base("torchvision", "resnet18")


def test_a_file_sets_nothing_but_settings():
    model = torchvision.models.resnet18()
    for wrong in ({"layer9": {"eps": 1}}, {"bn1": {"forward": 1}}, {"bn1": {"_parameters": {}}}, {"bn1": {"weight": 1}}, {"bn1": {"training": True}}):
        with pytest.raises(surgeon.SurgeonError):
            settle(model, wrong)
    settle(model, {"conv1": {"stride": [1, 1]}})
    assert model.conv1.stride == (1, 1)


def test_the_first_format_had_no_settings():
    made = recipe.of(surgeon.inject(sources.build(TINY), "eca", where="final"))
    data = json.loads(recipe.to_text(made))
    assert data["format"] == 2 and data["base"].pop("settings") == {}
    assert recipe.from_text(json.dumps(data | {"format": 1}), "it").base == made.base
    with pytest.raises(surgeon.SurgeonError, match="no recipe that can be read"):
        recipe.from_text(json.dumps(data), "it")


def test_show_names_them(tmp_path, capsys):
    model = surgeon.inject(with_epsilon(sources.build(TINY)), "eca", where="final")
    surgeon.save(model, tmp_path / "a.safetensors")
    assert run(["show", str(tmp_path / "a.safetensors")]) == 0
    assert "bn1.eps=0.5" in (said := capsys.readouterr().out) and "more" in said


def test_a_program_that_is_not_the_named_network_is_refused(tmp_path, capsys):
    torch.manual_seed(0)
    for name, model in (("same", sources.build(TINY)), ("other", with_epsilon(sources.build(TINY)))):
        torch.export.save(torch.export.export(model, (torch.randn(1, 3, 64, 64),)), tmp_path / f"{name}.pt2")
    words = lambda name: ["inject", str(tmp_path / f"{name}.pt2"), "--arch", TINY, "--attention", "eca", "--where", "final", "-o", str(tmp_path / f"{name}.pth"), "-q"]
    assert run(words("same")) == 0 and run(words("other")) == 2
    assert "computes something else" in capsys.readouterr().err and not (tmp_path / "other.pth").exists()
