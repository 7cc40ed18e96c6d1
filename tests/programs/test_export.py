"""Programs: torch.export's .pt2 and ONNX, written, run at several sizes, and taken in again."""

import json

import numpy
import pytest
import timm
import torch

import surgeon
from surgeon.cli import run
from surgeon.errors import BadModel, BadVersion
from surgeon.files import intake
from surgeon.networks import library
from surgeon.programs.unfold import network
from tests.shared.bits import assert_same_bits
from tests.shared.small import TINY, output, stir, tiny

pytestmark = pytest.mark.export

# Windows of 4 x 4 tokens, shifted in every second block.
SMALL_SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4]}
NETWORKS = {
    "resnet18": ("torchvision:resnet18", {}, "cbam", "open batch and image size"),
    "efficientnet": ("timm:test_efficientnet", {}, "bam", "open batch and image size"),
    "convnext": ("timm:test_convnext", {}, "eca", "open batch and image size"),
    "swin": ("timm:swin_tiny_patch4_window7_224", SMALL_SWIN, "se", "open batch, images of 64 x 64"),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network_and_words(request):
    name, arguments, attention, words = NETWORKS[request.param]
    return stir(
        surgeon.inject(library.build(name, num_classes=5, arguments=arguments), attention, where="bottleneck")
    ), words


def batches(words):
    """Noise at two batches, and at two sizes where these are open."""
    shapes = [(1, 3, 64, 64), (3, 3, 96, 80)] if "image size" in words else [(1, 3, 64, 64), (3, 3, 64, 64)]
    return [torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in shapes]


def distance(one, other):
    """The largest difference relative to the largest value."""
    return float((one - other).abs().max() / other.abs().max())


def test_a_pt2_runs_as_the_network_does(network_and_words, tmp_path):
    model, words = network_and_words
    surgeon.save(model, tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2").module()
    with torch.no_grad():
        assert all(distance(program(image), model(image)) < 1e-4 for image in batches(words))
    assert_same_bits(surgeon.load(tmp_path / "net.pt2"), model)


@pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 gives no batch norm to today's onnxscript")
def test_an_onnx_runs_as_the_network_does(network_and_words, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, words = network_and_words
    surgeon.save(model, tmp_path / "net.safetensors")
    assert run(["export", str(tmp_path / "net.safetensors"), "-o", str(tmp_path / "net.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["takes"] == words
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert "surgeon" in session.get_modelmeta().custom_metadata_map
    for image in batches(words):
        (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        with torch.no_grad():
            assert distance(torch.from_numpy(numpy.asarray(found)), model(image)) < 1e-4


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(a program that somebody exported, the network it is from)."""
    model = tiny(None)
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    torch.export.save(
        torch.export.export(
            model, (torch.randn(2, 3, 64, 64),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
        ),
        path,
    )
    return path, model


def test_a_folded_program_has_the_places_and_weights_of_its_network(exported):
    path, model = exported
    folded = network(torch.export.load(path))
    assert_same_bits(folded, model)
    assert surgeon.places(folded, example_inputs=torch.zeros(2, 3, 64, 64)) == surgeon.places(model)


@pytest.mark.programs
@pytest.mark.parametrize(("place", "attention"), [("residual", "eca"), ("bottleneck", "cbam"), ("final", "bam")])
def test_a_program_of_somebodys_is_operated_on(place, attention, exported, tmp_path, capsys):
    path, model = exported
    target = tmp_path / "out.pt2"
    assert run(["inject", str(path), "--attention", attention, "--where", place, "-o", str(target), "-q"]) == 0
    program = torch.export.load(target)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert distance(program.module()(image), model(image)) < 1e-6
    assert set(model.state_dict()) < set(program.state_dict)
    assert run(["verify", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors that agree with their SHA-256"] == len(program.state_dict)
    assert run(["show", str(target), "-q"]) == 0


@pytest.mark.programs
def test_windows_of_a_program_take_attention_in_their_residual_branches(tmp_path):
    torch.manual_seed(0)
    model = timm.models.swin_transformer.SwinTransformer(
        img_size=32, window_size=4, embed_dim=8, depths=(2,), num_heads=(2,), num_classes=3
    ).eval()
    torch.export.save(
        torch.export.export(
            model, (torch.randn(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
        ),
        tmp_path / "net.pt2",
    )
    assert (
        run(
            [
                "inject",
                str(tmp_path / "net.pt2"),
                "--attention",
                "eca",
                "--where",
                "residual",
                "-o",
                str(tmp_path / "out.pt2"),
                "-q",
            ]
        )
        == 0
    )
    image, program = torch.randn(3, 3, 32, 32), torch.export.load(tmp_path / "out.pt2")
    with torch.no_grad():
        assert distance(program.module()(image), model(image)) < 1e-6
    assert (
        sum(".eca" in key and key.endswith(".gain") for key in program.state_dict)
        == surgeon.places(model)["residual"]
        == 4
    )


@pytest.mark.programs
def test_a_program_without_a_name_is_written_as_a_program_only(exported, tmp_path, capsys):
    path, model = exported
    arguments = ["inject", str(path), "--attention", "cbam", "-o", str(tmp_path / "out.safetensors"), "-q"]
    assert run(arguments) == 2
    assert "can only be written as .pt2 or .onnx" in capsys.readouterr().err
    assert run([*arguments, "--arch", TINY]) == 0
    loaded = surgeon.load(tmp_path / "out.safetensors")
    assert torch.equal(output(loaded), output(model))


def test_a_torch_that_is_too_old_for_onnx_is_told_so(tmp_path, monkeypatch):
    """That of torch 2.6 fails at every batch norm."""

    def fail(*args, **kwargs):
        raise torch.onnx.errors.OnnxExporterError("'tuple' object has no attribute 'dtype'")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(BadModel, match="does not export to ONNX: 'tuple' object has no attribute 'dtype'.$"):
        surgeon.save(tiny(), tmp_path / "net.onnx")
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.6.0"))
    with pytest.raises(BadVersion, match="'dtype'. This is torch 2.6.0: try 2.11 or newer.$"):
        surgeon.save(tiny(), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def detector():
    return surgeon.inject(
        library.build("torchvision:ssdlite320_mobilenet_v3_large", num_classes=3), "eca", where="bottleneck"
    )


@pytest.mark.parametrize("ending", [pytest.param("pt2", marks=pytest.mark.programs), "onnx"])
def test_a_detector_is_refused_in_one_line_that_says_what_exports(ending, detector, tmp_path, capfd):
    with pytest.raises(surgeon.SurgeonError) as caught:
        surgeon.save(detector, tmp_path / f"net.{ending}")
    told = str(caught.value)
    assert "\n" not in told and "SSD does not export: " in told and not list(tmp_path.iterdir())
    assert told.endswith(
        "Its backbone does: torch.export.export(model.backbone, (torch.zeros(1, 3, 320, 320),)), "
        "or torch.onnx.export(model.backbone, ..., dynamo=True), with model = surgeon.load(FILE)."
    )
    assert capfd.readouterr() == ("", "")


@pytest.mark.programs
def test_a_detectors_backbone_exports_as_the_refusal_says(detector, tmp_path):
    image = torch.randn(1, 3, 320, 320)
    program = torch.export.export(detector.backbone, (torch.zeros(1, 3, 320, 320),))
    torch.export.save(program, tmp_path / "backbone.pt2")
    with torch.no_grad():
        found, expected = torch.export.load(tmp_path / "backbone.pt2").module()(image), detector.backbone(image)
    assert list(found) == list(expected) and all(distance(found[key], expected[key]) < 1e-4 for key in expected)
    assert run(["places", str(tmp_path / "backbone.pt2"), "-q"]) == 0


def test_a_pt2_of_surgeons_is_taken_in(tmp_path):
    model = tiny()
    surgeon.save(model, tmp_path / "net.pt2")
    taken = intake.open_source(tmp_path / "net.pt2")
    assert str(taken.base) == TINY
    assert_same_bits(taken.model, model)


def test_an_export_leaves_each_module_in_its_mode(tmp_path):
    model = tiny().train()
    model.layer1.eval()
    modes = [module.training for module in model.modules()]
    surgeon.save(model, tmp_path / "net.pt2")
    assert [module.training for module in model.modules()] == modes
