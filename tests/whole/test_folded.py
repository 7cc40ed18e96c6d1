"""Networks of the libraries, folded: the same answers, files that say how, programs, one line where it can't be."""

import pytest
import torch

import surgeon
from surgeon.attention import attention_modules
from surgeon.cli import run
from surgeon.files import intake, proof
from surgeon.networks import library
from tests.shared.operated import image, network
from tests.shared.small import output, tiny

pytestmark = pytest.mark.network

CASES = [
    ("resnet", "cbam", "residual", "eager"),
    ("resnet", "bam", "bottleneck", "identity"),
    ("resnet", "se", "residual", "eager"),
    ("resnet", "eca", "final", "eager"),
    ("vit", "cbam", "residual", "neutral"),
    ("convnext", "bam", "bottleneck", "paper"),
    ("convnext", "timm:gc", "residual", "paper"),
]


def trained(model):
    """All weights of the attention, and the statistics of its norms, away from their start."""
    generator = torch.Generator().manual_seed(0)
    for path, gate in attention_modules(model).items():
        for key, value in gate.state_dict().items():
            if key.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif value.is_floating_point() and not key.endswith(("gain", "slope")):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
    return model


@pytest.mark.parametrize(("name", "attention", "where", "init"), CASES)
@torch.no_grad()
def test_folded_saved_and_loaded(name, attention, where, init, tmp_path):
    model = trained(surgeon.inject(network(name), attention, where=where, init=init))
    expected, x = model(image(name)), image(name)
    assert not torch.allclose(network(name)(x), expected)
    surgeon.fold(model)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
    surgeon.save(model, tmp_path / "folded.safetensors")
    loaded = surgeon.load(tmp_path / "folded.safetensors")
    assert torch.equal(loaded(x), model(x))
    assert [gate.folded for gate in attention_modules(loaded).values()] == [
        gate.folded for gate in attention_modules(model).values()
    ]
    assert proof.verify(tmp_path / "folded.safetensors").same_base


@torch.no_grad()
def test_a_resnet50():
    torch.manual_seed(0)
    # Untrained, its maps grow from block to block, and rounding with them.
    model = trained(surgeon.inject(library.build("torchvision:resnet50").eval(), "cbam")).double()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    expected = model(x)
    torch.testing.assert_close(surgeon.fold(model)(x), expected, rtol=1e-8, atol=0)
    assert sum(1 for _ in model.modules()) == 151 + 16 * 6


@torch.no_grad()
def test_a_mobilenet_with_attention_in_the_place_of_its_gates(tmp_path):
    torch.manual_seed(0)
    model = library.build("timm:mobilenetv3_small_050", num_classes=3).eval()
    trained(surgeon.inject(model, "cbam", where="gate", replace=True))
    paths = [*attention_modules(model)]
    for share, path in zip((0.0, 1.0, 0.5), paths, strict=False):
        torch.nn.init.constant_(model.get_submodule(path).share, share)
    x = torch.randn(1, 3, 64, 64)
    expected = model(x)
    surgeon.fold(model)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
    assert paths[0] not in attention_modules(model) and model.get_submodule(paths[1]).share is None
    surgeon.save(model, tmp_path / "folded.pth")
    assert torch.equal(surgeon.load(tmp_path / "folded.pth")(x), model(x))


@pytest.mark.parametrize("target", ["folded.safetensors", "folded.pth", "folded"])
def test_the_command(target, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = tiny(init="identity")
    for name, weight in model.layer1[0].named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.zeros_(weight)
    expected = output(model)
    surgeon.save(model, "cbam.pth")
    assert run(["fold", "cbam.pth", "-o", target]) == 0
    assert "layer1.0.cbam" in capsys.readouterr().out
    torch.testing.assert_close(output(surgeon.load(target)), expected)
    assert len(attention_modules(surgeon.load(target))) == len(attention_modules(model)) - 1
    assert run(["show", target]) == 0 and "for deployment" in capsys.readouterr().out
    for line in (["verify", target], ["check", target], ["strip", target, "-o", "back.pth"],
                 ["delta", target, "-o", "delta.safetensors"],
                 ["merge", "back.pth", "delta.safetensors", "-o", "merged.pth"]):  # fmt: skip
        assert run([*line, "-q"]) == 0, line
    assert torch.equal(output(surgeon.load("merged.pth")), output(surgeon.load(target)))
    assert "cbam.spatial.bn.weight" not in " ".join(intake.open_file(target).tensors)


@pytest.mark.export
@pytest.mark.parametrize("target", ["folded.pt2", "folded.onnx"])
def test_programs(target, tmp_path, monkeypatch):
    if target.endswith("onnx") and torch.__version__ < "2.7":
        pytest.skip("torch 2.6 gives no batch norm to today's onnxscript")
    monkeypatch.chdir(tmp_path)
    model = tiny()
    expected = output(model)
    surgeon.save(model, "cbam.safetensors")
    assert run(["fold", "cbam.safetensors", "-o", target, "-q"]) == 0
    if target.endswith(".pt2"):
        torch.testing.assert_close(output(surgeon.load(target)), expected)


REFUSED = {
    "plain.safetensors": "there is no attention in",
    "fresh.safetensors": "all of its attention lets everything pass, and is not needed: surgeon strip writes the rest",
    "nothing.safetensors": "nothing.safetensors",
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_line_and_leaves_nothing(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    surgeon.save(tiny(None), "plain.safetensors")
    surgeon.save(surgeon.inject(tiny(None), "cbam"), "fresh.safetensors")
    assert run(["fold", name, "-o", "out.safetensors"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("surgeon: ") and REFUSED[name] in error and error.count("\n") == 1
    assert not (tmp_path / "out.safetensors").exists()
