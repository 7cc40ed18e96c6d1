"""What the weights do not show, set otherwise than the library does: it comes back from a file, or the file is refused."""

import json
from functools import partial

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator

import surgeon
from surgeon.cli import run
from surgeon.files import intake, recipe
from surgeon.files.derive import recipe_of
from surgeon.networks import identify, library
from surgeon.networks.settings import changed, settle
from tests.shared.caching import Anchored, Deciding, Tabled
from tests.shared.folders import from_folder
from tests.shared.own_networks import Scaled, scaled_by, tied
from tests.shared.small import TINY

pytestmark = pytest.mark.network


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
    "an epsilon given to the constructor": lambda: torchvision.models.mobilenet_v2(
        norm_layer=partial(nn.BatchNorm2d, eps=0.5)
    ),
    "an epsilon set afterwards": lambda: with_epsilon(timm.create_model(TINY.removeprefix("timm:"))),
    "strides turned into dilation": lambda: torchvision.models.resnet50(
        replace_stride_with_dilation=[False, True, True]
    ),
    "a switch in the forward": lambda: torchvision.models.googlenet(
        transform_input=True, aux_logits=False, init_weights=False
    ),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_settings_come_back(kind, tmp_path):
    torch.manual_seed(0)
    model = CHANGED[kind]().eval()
    base = identify.infer(model)
    expected, stock = outputs(model), library.build(str(base), arguments=base.arguments)
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
    assert library.remembered(again).arguments == {"image_size": 64, "num_classes": 3} and torch.equal(
        outputs(again), expected
    )


def test_they_stay_through_every_command(tmp_path):
    """A pickled network in; its file exported, stripped, parted and put together: the epsilon is there each time."""
    torch.manual_seed(0)
    model = with_epsilon(library.build(TINY)).eval()
    torch.save(model, tmp_path / "in.pt")
    torch.save(model.state_dict(), tmp_path / "in.pth")
    go = lambda *words: run(
        [str(tmp_path / word) if "." in word and not word.startswith("-") else word for word in words]
    )
    assert (
        go("inject", "in.pt", "--allow-pickle", "--attention", "eca", "--where", "final", "-o", "a.safetensors", "-q")
        == 0
    )
    assert go("export", "a.safetensors", "-o", "b.pth", "-q") == 0
    assert go("delta", "b.pth", "-o", "delta.safetensors", "-q") == 0
    assert go("merge", "in.pth", "delta.safetensors", "-o", "c.safetensors", "-q") == 0
    assert go("verify", "c.safetensors", "in.pth", "-q") == 0
    for name in ("a.safetensors", "b.pth", "c.safetensors"):
        assert torch.equal(outputs(surgeon.load(tmp_path / name)), outputs(model))
    assert run(["export", str(tmp_path / "a.safetensors"), "-o", str(tmp_path / "folder"), "-q"]) == 0
    assert torch.equal(outputs(from_folder(tmp_path / "folder", pretrained=True).eval()), outputs(model))


def test_a_timm_folder_has_no_words_for_them(tmp_path, capsys):
    model = surgeon.inject(with_epsilon(library.build(TINY)), "eca", where="final")
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
    "another activation": (
        resnet(lambda model: setattr(model.layer1[0], "relu", nn.GELU())),
        "layer1.0.relu .* a GELU where the library builds a ReLU",
    ),
    "a forward on the object": (
        resnet(lambda model: setattr(model, "forward", lambda x: x)),
        "the network itself .* its 'forward' is a function",
    ),
    "a class of one's own": (doubled, "the network itself .* a Doubled where the library builds a ResNet"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_file_cannot_hold_is_refused(kind, tmp_path):
    made, told = REFUSED[kind]
    model = made()
    with pytest.raises(surgeon.SurgeonError, match=told):
        surgeon.save(model, tmp_path / "file.safetensors", base="torchvision:resnet18")
    assert not (tmp_path / "file.safetensors").exists()


class Factor:
    def __init__(self, factor):
        self.factor = factor

    def times(self, x):
        return self.factor * x


# What stands on the object of the library's network, where it is no function of torch's.
STOCK = {"closure": lambda: scaled_by(1.0), "method": lambda: Factor(1.0).times}
DIFFERENT = {
    "function": (dict(function=torch.tanh), "its 'function' is a function that the library does not set"),
    "closure": (dict(function=scaled_by(3.0)), "its 'function' is a function that the library does not set"),
    "method": (dict(function=Factor(3.0).times), "its 'function' is a function that the library does not set"),
    "table": (dict(table=2.0), "its table 'table' holds other numbers"),
    "tensor": (dict(mean=2.0), "its 'mean' is not what the library makes"),
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_functions_and_tables_are_compared(kind):
    options, told = DIFFERENT[kind]
    stock, again = (Scaled(STOCK[kind]()) if kind in STOCK else Scaled() for _ in range(2))
    assert changed(again, stock) == {}
    with pytest.raises(surgeon.SurgeonError, match=told):
        changed(Scaled(**options), stock)


def test_a_table_of_another_size_shows_in_the_answers(tmp_path):
    model = surgeon.inject(Scaled(size=3), "eca", where="conv*")
    with pytest.raises(surgeon.SurgeonError, match="computes something else: outputs differ by up to"):
        surgeon.save(model, tmp_path / "a.safetensors", base="tests.shared.own_networks:Scaled")


def test_a_table_that_the_forward_makes_again_is_none(tmp_path):
    model = library.build("timm:convit_tiny", num_classes=2)
    expected = outputs(model, side=224)  # fills the tables of its tokens
    assert torch.equal(outputs(saved(model, tmp_path), side=224), expected)


@pytest.mark.parametrize("kind", [Anchored, Tabled, Deciding])
def test_a_network_that_has_run_comes_back_and_runs(kind, tmp_path):
    model = surgeon.inject(kind().eval(), "eca", where="conv*")
    expected = outputs(model, side=32)
    surgeon.save(model, tmp_path / "a.safetensors", base=f"tests.shared.caching:{kind.__name__}")
    again = surgeon.load(tmp_path / "a.safetensors", allow_imports=True)
    assert torch.equal(outputs(again, side=32), expected) and torch.equal(outputs(again), outputs(model))


def test_recurrent_layers_hold_their_weights_in_lists():
    assert changed(Recurrent(), Recurrent()) == {}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 4)

    def forward(self, x):
        return self.lstm(x)


def test_what_no_forward_asks_for_may_differ():
    model = Scaled()
    model.unread, model.note = torch.tanh, "mine"
    assert changed(model, Scaled()) == {}


def test_numbers_of_numpy_and_of_the_class_are_settings():
    model = Scaled()
    model.gain, model.conv.stride = 3.0, np.int64(1)
    found = changed(model, Scaled())
    assert found == {"": {"gain": 3.0}, "conv": {"stride": 1}} and json.loads(json.dumps(found)) == found
    assert settle(Scaled(), found).gain == 3.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["timm:swinv2_cr_tiny_ns_224", "timm:eva02_tiny_patch14_224"])
def test_tables_of_half_precision_are_the_same_tables(name, dtype):
    assert changed(library.build(name, empty=True).to(dtype), library.build(name, empty=True)) == {}


LOST = {
    "a module without weights": (
        lambda model: model.layer4.append(nn.Tanh()),
        "layer4 .* it holds 0, 1, 2 where the library puts 0, 1",
    ),
    "another order": (lambda model: swap(model.layer1), "layer1 .* it holds 1, 0 where the library puts 0, 1"),
    "a hook": (
        lambda model: model.layer1.register_forward_hook(lambda module, args, out: out * 2),
        "computes something else: outputs differ by up to",
    ),
}


def swap(blocks):
    blocks._modules = dict(reversed(blocks._modules.items()))


@pytest.mark.parametrize("kind", LOST)
def test_what_would_be_lost_in_a_file_is_refused(kind, tmp_path):
    change, told = LOST[kind]
    torch.manual_seed(0)
    model = torchvision.models.resnet18()
    change(model)
    torch.save(model.eval(), tmp_path / "in.pt") if kind != "a hook" else None
    surgeon.inject(model, "eca", where="final")
    with pytest.raises(surgeon.SurgeonError, match=told):
        surgeon.save(model, tmp_path / "file.safetensors", base="torchvision:resnet18")
    assert not (tmp_path / "file.safetensors").exists()
    if kind != "a hook":
        with pytest.raises(surgeon.SurgeonError, match=told):
            intake.open_source(tmp_path / "in.pt", allow_pickle=True)


def test_a_detectors_anchors_are_compared(tmp_path):
    kw = dict(weights=None, weights_backbone=None, num_classes=3)
    sizes = AnchorGenerator(((16,), (32,), (64,), (128,), (256,)), ((0.5, 1.0, 2.0),) * 5)
    for model in (
        torchvision.models.detection.fasterrcnn_resnet50_fpn(**kw, rpn_anchor_generator=sizes),
        torchvision.models.detection.fasterrcnn_resnet50_fpn(**kw, bbox_reg_weights=(1.0, 1.0, 1.0, 1.0)),
    ):
        with pytest.raises(surgeon.SurgeonError, match="is not what the library makes"):
            identify.infer(model)


def test_operations_are_repeated_in_their_order(tmp_path):
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=4).eval()
    surgeon.apply(model, surgeon.plan(model, "bam", where="layer?.0.bn2", dilation=2).only("layer2.0"))
    surgeon.inject(model, "bam", where="layer?.0.bn1")
    with torch.no_grad():
        for number, weight in enumerate(surgeon.attention_parameters(model).values()):
            weight.uniform_(-0.5, 0.5)
    expected = outputs(model)
    surgeon.save(model, tmp_path / "a.safetensors")
    again = surgeon.load(tmp_path / "a.safetensors")
    assert torch.equal(outputs(again), expected)
    assert [plan.options for plan in intake.open_surgeon_file(tmp_path / "a.safetensors").recipe.operations] == [
        {"dilation": 2},
        {},
    ]


def test_what_no_file_could_open_is_not_written(tmp_path):
    model = torchvision.models.resnet18(num_classes=4)
    surgeon.apply(model, surgeon.plan(model, "cbam").only("layer4*"))
    surgeon.inject(model, "eca", where="layer?.0")
    surgeon.save(model, tmp_path / "a.safetensors")
    assert list(surgeon.attention_modules(surgeon.load(tmp_path / "a.safetensors"))) == list(
        surgeon.attention_modules(model)
    )


def test_settings_inside_the_attention_come_back(tmp_path):
    torch.manual_seed(0)
    model = surgeon.inject(torchvision.models.resnet18(num_classes=4).eval(), "bam", where="bottleneck", init="paper")
    with_epsilon(model)
    first, *_ = surgeon.attention_modules(model).values()
    first.enabled = False
    expected = outputs(model)
    surgeon.save(model, tmp_path / "a.safetensors")
    assert torch.equal(outputs(surgeon.load(tmp_path / "a.safetensors")), expected)


def test_another_function_inside_the_attention_is_refused(tmp_path):
    model = surgeon.inject(torchvision.models.resnet18(num_classes=4), "timm:se", where="final")
    next(iter(surgeon.attention_modules(model).values())).inner.gate = nn.Tanh()
    with pytest.raises(surgeon.SurgeonError, match="a Tanh where the library builds a Sigmoid"):
        surgeon.save(model, tmp_path / "a.safetensors")


def test_parted_weights_stay_parted(tmp_path):
    torch.manual_seed(0)
    model = surgeon.inject(tied(parted=True).eval(), "eca", where="0*")
    expected = outputs(model)
    surgeon.save(model, tmp_path / "a.safetensors", base="tests.shared.own_networks:tied")
    again = surgeon.load(tmp_path / "a.safetensors", allow_imports=True)
    assert torch.equal(outputs(again), expected) and again[0].weight is not again[2].weight


def test_synchronised_norms_count_as_norms():
    model = torchvision.models.resnet18()
    twin = nn.SyncBatchNorm.convert_sync_batchnorm(torchvision.models.resnet18())
    assert changed(twin, model) == {}


def test_attention_is_no_change():
    model = surgeon.inject(torchvision.models.resnet18(), "cbam")
    assert changed(model, torchvision.models.resnet18()) == {} and identify.infer(model) == library.Base(
        "torchvision", "resnet18"
    )
    assert recipe_of(model).settings == {}


def test_a_file_sets_nothing_but_settings():
    model = torchvision.models.resnet18()
    for wrong in (
        {"layer9": {"eps": 1}},
        {"bn1": {"forward": 1}},
        {"bn1": {"_parameters": {}}},
        {"bn1": {"weight": 1}},
        {"bn1": {"training": True}},
        {"bn1": {"eps": "much"}},
    ):
        with pytest.raises(surgeon.SurgeonError):
            settle(model, wrong)
    settle(model, {"conv1": {"stride": [1, 1]}})
    assert model.conv1.stride == (1, 1)


def test_the_first_format_had_no_settings():
    made = recipe_of(surgeon.inject(library.build(TINY), "eca", where="final"))
    data = json.loads(recipe.to_text(made))
    assert data["format"] == 2 and data["base"].pop("settings") == {}
    assert recipe.from_text(json.dumps(data | {"format": 1}), "it").base == made.base
    with pytest.raises(surgeon.SurgeonError, match="no recipe that can be read"):
        recipe.from_text(json.dumps(data), "it")


def test_a_head_taken_off_and_a_new_one(tmp_path):
    """timm writes on a model how it was made; `reset_classifier` does not change that note."""
    for classes in (0, 5):
        model = timm.create_model(TINY.removeprefix("timm:"))
        model.reset_classifier(classes)
        base = identify.infer(surgeon.inject(model, "eca", where="final"))
        assert base == library.Base("timm", "test_resnet", {"num_classes": classes})


def test_show_names_them(tmp_path, capsys):
    model = surgeon.inject(with_epsilon(library.build(TINY)), "eca", where="final")
    surgeon.save(model, tmp_path / "a.safetensors")
    assert run(["show", str(tmp_path / "a.safetensors")]) == 0
    assert "bn1.eps=0.5" in (said := capsys.readouterr().out) and "more" in said


class Twice(nn.Module):
    """A network with another forward and the same keys."""

    def __init__(self, model):
        super().__init__()
        self._modules = model._modules
        self.model = (model,)

    def forward(self, x):
        y = self.model[0](x)
        return y, 2 * y


@pytest.mark.programs
def test_a_program_that_is_not_the_named_network_is_refused(tmp_path, capsys):
    torch.manual_seed(0)
    for name, model in (
        ("same", library.build(TINY)),
        ("other", with_epsilon(library.build(TINY))),
        ("twice", Twice(library.build(TINY))),
    ):
        torch.export.save(torch.export.export(model, (torch.randn(1, 3, 64, 64),)), tmp_path / f"{name}.pt2")
    words = lambda name: [
        "inject",
        str(tmp_path / f"{name}.pt2"),
        "--arch",
        TINY,
        "--attention",
        "eca",
        "--where",
        "final",
        "-o",
        str(tmp_path / f"{name}.pth"),
        "-q",
    ]
    assert run(words("same")) == 0
    for name, told in (("other", "outputs of up to"), ("twice", "1 x 1000, 1 x 1000 and not 1 x 1000")):
        assert run(words(name)) == 2
        assert f"computes something else: {told}" in capsys.readouterr().err and not (tmp_path / f"{name}.pth").exists()


def test_an_operation_on_a_part_is_saved_with_the_whole(tmp_path):
    model = library.build("torchvision:ssdlite320_mobilenet_v3_large", num_classes=3)
    surgeon.inject(model.backbone, "cbam", where="bottleneck")
    surgeon.save(model, tmp_path / "a.safetensors")
    again = surgeon.load(tmp_path / "a.safetensors")
    assert list(surgeon.attention_modules(again)) == list(surgeon.attention_modules(model))


def test_networks_whose_weights_tell_a_version(tmp_path):
    """torchvision's MNASNet takes no state dict without one, and safetensors keep none."""
    torch.manual_seed(0)
    model = library.build("torchvision:mnasnet0_5", num_classes=3)
    expected = outputs(model)
    assert torch.equal(outputs(saved(model, tmp_path)), expected)
