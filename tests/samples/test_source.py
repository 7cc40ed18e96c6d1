"""`sample:digits` wherever a library's network may stand."""

import json

import pytest
import torch
from safetensors.torch import load_file

import surgeon
from surgeon.cli import run
from surgeon.errors import BadOption, UnknownName
from surgeon.files.intake import open_source

pytestmark = pytest.mark.network

SAMPLE = "sample:digits"


@pytest.fixture(scope="module")
def injected(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "a.safetensors"
    assert run(["inject", SAMPLE, "--attention", "cbam", "--output", str(path), "--quiet"]) == 0
    return path


def test_places_and_plans_are_those_of_its_images(capsys):
    assert run(["places", SAMPLE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["places"]["residual"] == 4
    assert run(["plan", SAMPLE, "--attention", "se", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sites"][0]["channels"] == 32
    assert run(["places", "--list", "sample"]) == 0
    assert capsys.readouterr().out == f"{SAMPLE}\n"
    assert run(["rules", "explain", SAMPLE, "--where", "residual"]) == 0


def test_a_file_of_it_loads_and_scores_the_same(injected):
    images, _ = surgeon.samples.digits("test")
    with torch.no_grad():
        assert torch.equal(surgeon.load(injected)(images), surgeon.samples.load("digits")(images))


def test_verified_and_stripped_it_is_the_original(injected, tmp_path):
    assert run(["verify", str(injected), SAMPLE, "--quiet"]) == 0
    assert run(["strip", str(injected), "-o", str(tmp_path / "b.safetensors"), "--quiet"]) == 0
    left, original = load_file(tmp_path / "b.safetensors"), surgeon.samples.load("digits").state_dict()
    assert left.keys() == original.keys() and all(torch.equal(left[key], original[key]) for key in left)


def test_a_delta_goes_back_on_it(injected, tmp_path):
    delta, merged = str(tmp_path / "d.safetensors"), tmp_path / "m.safetensors"
    assert run(["delta", str(injected), "-o", delta, "--quiet"]) == 0
    assert run(["merge", SAMPLE, delta, "-o", str(merged), "--quiet"]) == 0
    one, two = load_file(injected), load_file(merged)
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    assert injected.read_bytes() == merged.read_bytes()


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_it_names_the_network_of_a_checkpoint(ending, injected, tmp_path):
    path = tmp_path / f"b.{ending}"
    assert run(["strip", str(injected), "-o", str(path), "--quiet"]) == 0
    for options in ({"source": path, "arch": SAMPLE}, {"source": SAMPLE, "weights": path}):
        assert str(open_source(**options).base) == "timm:test_resnet"
    assert str(open_source(injected, arch=SAMPLE).base) == "timm:test_resnet"


def test_saved_from_python_it_is_recognised(tmp_path):
    model = surgeon.inject(surgeon.samples.load("digits"), "se")
    surgeon.save(model, tmp_path / "a.pth")
    assert surgeon.attention_modules(surgeon.load(tmp_path / "a.pth")).keys() == surgeon.attention_modules(model).keys()


def test_what_it_is_not_trained_for_is_refused():
    with pytest.raises(BadOption, match="sample:digits is trained for num_classes=10, in_chans=1"):
        open_source(SAMPLE, num_classes=3)
    with pytest.raises(UnknownName, match="sample has no network 'digit'. Did you mean 'digits'"):
        surgeon.samples.load("digit")
