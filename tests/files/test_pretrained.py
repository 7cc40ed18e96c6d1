"""Networks with attention that a library's own `save_pretrained` writes: the attention is not lost on the way."""

import copy
import json
import logging
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import surgeon
from surgeon.errors import BadFile, NoRecipe
from surgeon.files import notice
from surgeon.surgery import saving


class Net(nn.Module):
    """A network whose library saves and loads it by methods of its own, and passes by what it does not know."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 2)

    def forward(self, image, scale):
        return self.fc((self.conv(image) * scale).mean((2, 3)))

    def save_pretrained(self, folder, is_main_process=True):
        """Write the weights."""
        folder.mkdir(exist_ok=True)
        torch.save(self.state_dict(), folder / "pytorch_model.bin")
        return folder

    @classmethod
    def from_pretrained(cls, folder, strict=False):
        model = cls()
        model.load_state_dict(torch.load(folder / "pytorch_model.bin", weights_only=True), strict=strict)
        return model.eval()


IMAGE, SCALE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.ones(2, 16, 1, 1)


def operated(init="identity", **options):
    model = Net().eval()
    surgeon.inject(model, "cbam", where="*conv", init=init, example_inputs=(IMAGE, SCALE), **options)
    with torch.no_grad():
        for weight in surgeon.attention_parameters(model).values():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model


def test_what_was_saved_comes_back_with_its_attention(tmp_path):
    model = operated(reduction=4)
    model.conv.cbam.spatial.bn.eps = 1e-3
    assert model.save_pretrained(tmp_path) == tmp_path
    again = surgeon.from_pretrained(Net, tmp_path)
    assert torch.equal(again(IMAGE, SCALE), model(IMAGE, SCALE))
    assert not torch.equal(Net.from_pretrained(tmp_path)(IMAGE, SCALE), model(IMAGE, SCALE))
    # And once more, from what was loaded.
    again.save_pretrained(tmp_path / "again")
    third = surgeon.load(tmp_path / "again", allow_imports=True)
    assert torch.equal(third(IMAGE, SCALE), model(IMAGE, SCALE)) and third.conv.cbam.spatial.bn.eps == 1e-3


def test_a_strict_function_loads_as_well(tmp_path):
    model = operated()
    model.save_pretrained(tmp_path)
    again = surgeon.from_pretrained(lambda folder, strict=True: Net.from_pretrained(folder, strict=strict), tmp_path)
    assert torch.equal(again(IMAGE, SCALE), model(IMAGE, SCALE))


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_write_their_own(way, tmp_path):
    model = operated()
    twin = way(model)
    assert twin.save_pretrained.model is twin
    twin.save_pretrained(tmp_path)
    assert torch.equal(surgeon.from_pretrained(Net, tmp_path)(IMAGE, SCALE), model(IMAGE, SCALE))


def test_only_the_network_itself_is_changed_and_only_while_it_has_attention(tmp_path):
    model = operated()
    assert "save_pretrained" not in vars(Net()) and model.save_pretrained.__doc__ == "Write the weights."
    surgeon.remove(model)
    assert "save_pretrained" not in vars(model)
    plain = surgeon.inject(nn.Sequential(nn.Conv2d(3, 8, 3)), "se", where="input")
    assert "save_pretrained" not in vars(plain)


def test_a_part_that_can_be_saved_by_itself_writes_its_own(tmp_path):
    class Part(nn.Sequential):
        def save_pretrained(self, folder):
            torch.save(self.state_dict(), folder / "pytorch_model.bin")

        @classmethod
        def from_pretrained(cls, folder):
            part = cls(nn.Conv2d(3, 8, 3), nn.ReLU())
            part.load_state_dict(torch.load(folder / "pytorch_model.bin", weights_only=True), strict=False)
            return part

    model = nn.Sequential(Part(nn.Conv2d(3, 8, 3), nn.ReLU()), Part(nn.Conv2d(8, 8, 3)), nn.Flatten())
    surgeon.inject(model, "se", where="0", init="paper", example_inputs=IMAGE)
    model[0].save_pretrained(tmp_path)
    again = surgeon.from_pretrained(Part, tmp_path, example_inputs=IMAGE)
    assert torch.equal(again(IMAGE), model[0](IMAGE)) and surgeon.attention_modules(again)
    assert "save_pretrained" not in vars(model[1])
    surgeon.remove(model)
    assert "save_pretrained" not in vars(model[0])


def test_a_part_that_was_operated_on_by_itself_keeps_its_example(tmp_path):
    model = nn.Sequential(operated())
    example = model[0].save_pretrained.example
    saving.attach(model, None)
    assert example is not None and model[0].save_pretrained.example == example


def test_weights_that_were_gathered_are_taken(tmp_path):
    """A sharded network's own are parts; whoever saves it hands over the whole ones."""

    class Gathering(Net):
        def save_pretrained(self, folder, state_dict=None):
            torch.save(state_dict, folder / "pytorch_model.bin")

    model = Gathering().eval()
    surgeon.inject(model, "se", where="*conv", example_inputs=(IMAGE, SCALE))
    model.save_pretrained(tmp_path, state_dict={key: torch.full_like(w, 0.5) for key, w in model.state_dict().items()})
    again = surgeon.from_pretrained(Net, tmp_path)
    assert all(torch.all(weight == 0.5) for weight in again.conv.se.parameters())


def test_only_the_main_process_writes(tmp_path):
    operated().save_pretrained(tmp_path, is_main_process=False)
    assert not (tmp_path / "surgeon.json").exists()


def test_attention_without_a_name_is_saved_with_a_warning(tmp_path):
    model = Net()
    surgeon.inject(model, lambda channels: nn.Identity(), where="*conv", example_inputs=(IMAGE, SCALE))
    with pytest.warns(NoRecipe, match=r"has no recipe for its attention: .* has no import path"):
        model.save_pretrained(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["pytorch_model.bin"]


def broken(**changes):
    def change(folder):
        path = folder / "surgeon.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def attention(change):
    def changed(folder):
        tensors = load_file(folder / "surgeon.safetensors")
        change(tensors)
        save_file(tensors, folder / "surgeon.safetensors")

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "surgeon.json").unlink(), r"^there is no .*surgeon\.json: no network with attention"),
        (broken(format=9), "has format 9; this surgeon reads up to 1"),
        (broken(operations=[{}]), "can't be read: BadPlan"),
        (broken(example={"args": [[[1], "nothing"]], "kwargs": {}}), "can't be read: AttributeError"),
        (
            attention(lambda tensors: tensors.popitem()),
            r"surgeon\.safetensors is not whole: 'conv\.cbam\..*' is missing",
        ),
        (
            attention(lambda tensors: tensors["conv.cbam.channel.gamma"].add_(1)),
            "the weights of 'conv.*' are not those",
        ),
        (lambda folder: (folder / "surgeon.safetensors").unlink(), "there is no file"),
    ],
)
def test_what_is_not_whole_is_refused(change, message, tmp_path):
    operated().save_pretrained(tmp_path)
    change(tmp_path)
    with pytest.raises(BadFile, match=message):
        surgeon.from_pretrained(Net, tmp_path)


def test_another_network_is_refused(tmp_path):
    class Other(Net):
        def __init__(self):
            super().__init__()
            self.first = self.conv
            del self.conv

    operated().save_pretrained(tmp_path)
    with pytest.raises(BadFile, match=r"is a .*:Net, and its attention does not fit this Other: .*'conv'"):
        surgeon.from_pretrained(Other, tmp_path)


def test_code_that_a_folder_names_is_not_imported(tmp_path):
    operated().save_pretrained(tmp_path)
    with pytest.raises(BadFile, match=r"is somebody's own code.*surgeon\.from_pretrained\(Net, folder\)"):
        surgeon.load(tmp_path)
    pytest.importorskip("transformers")
    broken(network="transformers:logging")(tmp_path)
    with pytest.raises(BadFile, match="is no class of networks"):
        surgeon.load(tmp_path)
    plan = json.loads((tmp_path / "surgeon.json").read_text())["operations"][0]
    broken(operations=[plan | {"attention": "somewhere.else:Evil"}])(tmp_path)
    with pytest.raises(BadFile, match="attention 'somewhere.else:Evil' is somebody's own code"):
        surgeon.from_pretrained(Net, tmp_path)


def record(text):
    return logging.LogRecord("x", logging.WARNING, "", 0, text, (), None)


def test_a_report_says_how_the_attention_is_loaded(tmp_path):
    told = f"Net LOAD REPORT\x1b[0m from: {tmp_path}\nconv.cbam.channel.gamma | UNEXPECTED |"
    report = record(told)
    assert notice.hear(report) and report.getMessage() == told
    operated().save_pretrained(tmp_path)
    assert notice.hear(report)
    first, second = report.getMessage().split("\nsurgeon: ")
    assert first == told and f"surgeon.from_pretrained(Net, {str(tmp_path)!r}) loads it with its attention" in second
    with notice.told():
        assert not notice.hear(record(told)) and notice.hear(record(f"{told}\nfc.bias | MISSING |"))
    for other in ("anything else", told.replace("UNEXPECTED", "MISSING")):
        report = record(other)
        assert notice.hear(report) and report.getMessage() == other
