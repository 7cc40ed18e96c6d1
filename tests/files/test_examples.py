"""Networks that nobody can guess an input for: into a file, out of it, verified, in Python and by the command."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch

import surgeon
from surgeon.cli import run
from surgeon.errors import BadFile, BadModel, BadOption
from surgeon.files import intake, recipe
from surgeon.files.example import read_example
from surgeon.trace.examples import Form, Spec
from surgeon.trace.noise import noted
from tests.shared import several
from tests.shared.bits import assert_same_bits
from tests.shared.folders import from_folder
from tests.shared.small import TINY, tiny

pytestmark = pytest.mark.network

NAMES = ["Siamese", "Captioned", "Batched", "Volumetric"]
TEXTS = ["Siamese", "Captioned", "Volumetric"]


@torch.no_grad()
def answer(model, name):
    torch.manual_seed(1)
    given = several.examples()[name][0]
    if isinstance(given, torch.Tensor):
        given = (given,)
    result = model(**given) if isinstance(given, dict) else model(*given)
    return result["scores"] if isinstance(result, dict) else result


def made(name):
    torch.manual_seed(0)
    model = getattr(several, name)().eval()
    return model, several.examples()[name][0], f"tests.shared.several:{name}"


@pytest.mark.parametrize("name", NAMES)
def test_a_network_comes_back_and_is_verified(name, tmp_path, capsys):
    model, example, base = made(name)
    before = answer(model, name)
    surgeon.inject(model, "cbam", example_inputs=example)
    assert torch.equal(answer(model, name), before)
    file = str(tmp_path / "a.safetensors")
    surgeon.save(model, file, base=base)
    again = surgeon.load(file, allow_imports=True)
    assert_same_bits(model, again)
    assert torch.equal(answer(again, name), before) and noted(again) == noted(model) is not None
    # Without an example anew, into another file.
    surgeon.save(again, tmp_path / "b.pth", base=base)
    assert torch.equal(answer(surgeon.load(tmp_path / "b.pth", allow_imports=True), name), before)
    assert run(["verify", file, "--allow-imports", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["with attention"] == "the same output, bit for bit"


@pytest.mark.parametrize("name", TEXTS)
def test_the_command_does_all_of_it(name, tmp_path, capsys):
    base, text = f"tests.shared.several:{name}", several.examples()[name][1]
    file, again, part, whole = (str(tmp_path / f"{letter}.safetensors") for letter in "abcd")
    stock = str(tmp_path / "stock.pth")
    assert run(["places", base, "--example", text, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["places"]["residual"] == 1
    assert run(["plan", base, "--attention", "eca", "--example", text, "-q"]) == 0
    assert run(["inject", base, "--attention", "eca", "--example", text, "-o", file, "-q"]) == 0
    trusted = ["--allow-imports", "-q"]
    assert run(["verify", file, *trusted]) == run(["verify", file, "--example", text, *trusted]) == 0
    assert run(["check", file, *trusted]) == run(["check", file, "--example", text, *trusted]) == 0
    assert run(["export", file, "-o", again, *trusted]) == run(["delta", again, "-o", part, "-q"]) == 0
    assert run(["strip", file, "-o", stock, *trusted]) == 0
    assert run(["merge", stock, part, "-o", whole, *trusted]) == 0
    loaded = [answer(surgeon.load(path, allow_imports=True), name) for path in (file, again, whole)]
    assert torch.equal(loaded[0], loaded[1]) and torch.equal(loaded[0], loaded[2])
    capsys.readouterr()
    assert run(["show", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs on"] == text


def test_without_an_example_the_refusal_says_what_to_give(tmp_path):
    model, example, base = made("Siamese")
    with pytest.raises(surgeon.SurgeonError, match="Pass example_inputs= as the model takes them"):
        surgeon.inject(model, "cbam")
    assert run(["places", base]) == 2


def test_one_given_to_save_alone(tmp_path):
    model, example, base = made("Siamese")
    surgeon.inject(model.branch, "cbam", example_inputs=example[0])
    with pytest.raises(BadModel, match="could not be opened"):
        surgeon.save(model, tmp_path / "a.safetensors", base=base)
    surgeon.save(model, tmp_path / "a.safetensors", base=base, example_inputs=example)
    assert torch.equal(
        answer(surgeon.load(tmp_path / "a.safetensors", allow_imports=True), "Siamese"), answer(model, "Siamese")
    )


def test_the_proof_runs_on_the_users_own_example(tmp_path):
    model, example, base = made("Siamese")
    surgeon.inject(model, "cbam", example_inputs=example)
    model.register_forward_hook(lambda module, args, result: result + (args[0] == 7).any())
    surgeon.save(model, tmp_path / "a.safetensors", base=base)
    example[0][:] = 7
    with pytest.raises(BadModel, match="computes something else"):
        surgeon.save(model, tmp_path / "a.safetensors", base=base, example_inputs=example)


def test_a_few_integers_are_kept_as_they_are(tmp_path):
    torch.manual_seed(0)
    model, example = several.Counted().eval(), (torch.randn(2, 3, 16, 16), torch.tensor([3, 4]))
    surgeon.inject(model, "eca", example_inputs=example)
    surgeon.save(model, tmp_path / "a.safetensors", base="tests.shared.several:Counted")
    again = surgeon.load(tmp_path / "a.safetensors", allow_imports=True)
    assert torch.equal(again(*example), model(*example)) and noted(again).args[1].values == (3, 4)
    with pytest.raises(BadFile, match="2 x 3 x 16 x 16, 2.: lengths must be larger than 1"):
        surgeon.load(tmp_path / "a.safetensors", allow_imports=True, example_inputs="2x3x16x16 2:int64")


def test_remove_forgets_it():
    model, example, _ = made("Siamese")
    before = dict(vars(model))
    surgeon.remove(surgeon.inject(model, "eca", example_inputs=example))
    assert vars(model) == before and noted(model) is None


def test_files_without_an_example_are_read_and_written(tmp_path):
    surgeon.save(tiny(), tmp_path / "a.safetensors")
    text = intake.open_surgeon_file(tmp_path / "a.safetensors").checkpoint.recipe
    data = json.loads(text)
    assert data["format"] == 2 and data.pop("example") is None
    assert recipe.from_text(json.dumps(data), "a") == recipe.from_text(text, "a")


def test_an_example_that_is_none_is_a_damaged_recipe(tmp_path):
    surgeon.save(tiny(), tmp_path / "a.safetensors")
    data = json.loads(intake.open_surgeon_file(tmp_path / "a.safetensors").checkpoint.recipe)
    for example in (
        "1x3",
        {"args": [{"tensor": "1y3"}], "kwargs": {}},
        {"args": [{"code": "x"}], "kwargs": {}},
        {"args": []},
    ):
        with pytest.raises(BadFile, match="holds no recipe that can be read"):
            recipe.from_text(json.dumps(data | {"example": example}), "a.safetensors")


def test_another_number_of_channels_than_the_example_has(tmp_path):
    """A timm folder is opened with arguments of timm's: what the network ran on may not fit it any more."""
    import timm

    model = surgeon.inject(timm.create_model("test_resnet"), "eca", example_inputs=torch.randn(2, 3, 64, 64))
    surgeon.save(model, tmp_path / "folder")
    assert from_folder(tmp_path / "folder", pretrained=True, in_chans=1).conv1[0].in_channels == 1


FIRST, SECOND = torch.arange(6.0).view(2, 3), torch.ones(2, dtype=torch.int64)


def written(path):
    name = path.name
    if name.endswith((".pt", ".pth")):
        torch.save((FIRST, SECOND) if "pair" in name else {"x": FIRST, "ids": SECOND}, path)
    elif name.endswith(".safetensors"):
        safetensors.torch.save_file(
            {"0": FIRST, "ids": SECOND} if "pair" in name else {"x": FIRST, "ids": SECOND}, path
        )
    elif name == "pair.npz":
        np.savez(path, FIRST.numpy(), SECOND.numpy())
    elif name == "named.npz":
        np.savez(path, x=FIRST.numpy(), ids=SECOND.numpy())
    else:
        np.save(path, FIRST.numpy())
    return str(path)


@pytest.mark.parametrize(
    "name", ["pair.pt", "named.pth", "pair.npz", "named.npz", "alone.npy", "pair.safetensors", "named.safetensors"]
)
def test_a_file_of_tensors(name, tmp_path):
    args, kwargs = read_example(written(tmp_path / name))
    named = kwargs if "named" in name else {"x": args[0], "ids": kwargs.get("ids", args[-1])}
    assert torch.equal(named["x"], FIRST) and (name == "alone.npy" or torch.equal(named["ids"], SECOND))
    assert len(args) + len(kwargs) == (1 if name == "alone.npy" else 2)


def test_a_file_that_would_run_code_or_is_none(tmp_path):
    torch.save(several.Siamese(), tmp_path / "a.pt")
    for path in (tmp_path / "a.pt", tmp_path / "b.npz"):
        with pytest.raises(BadFile, match=f"--example {path}: "):
            read_example(str(path))


def test_a_file_as_an_example_of_the_command(tmp_path):
    torch.save(several.examples()["Siamese"][0], tmp_path / "pair.pt")
    words = ["--attention", "eca", "--example", str(tmp_path / "pair.pt")]
    assert run(["inject", "tests.shared.several:Siamese", *words, "-o", str(tmp_path / "a.safetensors"), "-q"]) == 0
    form = intake.open_surgeon_file(tmp_path / "a.safetensors").recipe.example
    assert form == Form((Spec((2, 3, 16, 16)), Spec((2, 3, 16, 16))))


def test_a_program_of_several_inputs(tmp_path):
    model, example, base = made("Siamese")
    surgeon.inject(model, "eca", example_inputs=example)
    surgeon.save(model, tmp_path / "a.pt2", base=base)
    program = torch.export.load(tmp_path / "a.pt2").module()
    assert torch.allclose(program(*example), model(*example), atol=1e-6)


def test_words_instead_of_tensors_in_python():
    model, example, _ = made("Captioned")
    text = several.examples()["Captioned"][1]
    assert surgeon.places(model, example_inputs=text) == surgeon.places(model, example_inputs=example)
    with pytest.raises(BadOption, match="'2x3y16' is no tensor. Write a tensor as 1x3x64x64"):
        surgeon.places(model, example_inputs="2x3y16")


def test_a_wrong_text_is_one_line(capsys):
    assert run(["places", TINY, "--example", "1x3x64x64:floaty"]) == 2
    assert capsys.readouterr().err.startswith(
        "surgeon: --example: '1x3x64x64:floaty' has a type that there is not. Did you mean 'float64'? Known: "
    )
