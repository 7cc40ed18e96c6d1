"""`surgeon maps`: pictures of what is in a file, and one line for what can't be."""

import json

import pytest
import torch

import surgeon
from surgeon.cli import run
from surgeon.pages import needs
from tests.shared.small import TINY, tiny

pytestmark = pytest.mark.tools

Image = pytest.importorskip("PIL.Image", reason='pip install "attention-surgeon[plots]"')
pytest.importorskip("pytorch_grad_cam", reason='pip install "attention-surgeon[plots]"')


@pytest.fixture
def _room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    surgeon.save(tiny("cbam"), "cbam.safetensors")
    surgeon.save(tiny("se"), "se.safetensors")
    (tmp_path / "photographs").mkdir()
    (tmp_path / "empty").mkdir()
    for name in ("cat one", "dog"):
        Image.effect_noise((50, 40), 80).convert("RGB").save(tmp_path / "photographs" / f"{name}.png")
    (tmp_path / "text.png").write_text("no image")


def call(line):
    return run(line.split())


@pytest.mark.usefixtures("_room")
def test_a_folder_of_pictures(tmp_path, capsys):
    assert call("maps cbam.safetensors photographs --output maps --class 2 --size 64,64 --site layer1") == 0
    assert "written: maps/index.html (2 images)" in capsys.readouterr().out
    left = {path.name for path in (tmp_path / "maps" / "cat one").iterdir()}
    assert {"image.png", "grad-cam-off.png", "layer1.0.cbam.spatial.png", "layer1.0.cbam.channel.csv"} <= left
    assert not any(name.startswith("layer2") for name in left)


@pytest.mark.usefixtures("_room")
def test_networks_side_by_side(tmp_path, capsys):
    torch.save(tiny(attention=None).state_dict(), "plain.pth")
    beside = "--beside plain.pth --beside se.safetensors"
    assert call(f"maps cbam.safetensors photographs {beside} --output maps --size 64,64 --json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["grad-cam"] == ["plain", "se", "attention off", "attention on"]
    assert {f"grad-cam-{name}.png" for name in ("plain", "se", "off", "on")} <= {
        path.name for path in (tmp_path / "maps" / "dog").iterdir()
    }


@pytest.mark.usefixtures("_room")
def test_what_was_written_as_json(capsys):
    assert call("maps se.safetensors photographs --output maps --size 64,64 --json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == ["cat one", "dog"] and told["output"] == "maps/index.html" and told["spatial"] == []
    assert len(told["channel"]) == 4 and len(told["classes"]) == 2 and told["layer"]


REFUSED = {
    "cbam.safetensors empty -o maps": "empty has no image in it",
    "cbam.safetensors text.png -o maps": "text.png is no image that can be read",
    "cbam.safetensors photographs -o maps --site blok": "'blok' matches none of the 4 attention modules",
    "cbam.safetensors photographs -o photographs": "photographs exists. --force (or force=True) replaces it.",
    "cbam.safetensors photographs -o maps --size big": "--size big: write numbers with commas between them",
    f"{TINY} photographs -o maps": "there is no attention here to look at",
    "cbam.safetensors photographs -o maps --beside sample:digits": "sample:digits: ",
    "cbam.safetensors photographs -o maps --beside se.safetensors --beside se.safetensors": "there is another se.",
    "cbam.safetensors photographs -o maps --beside nothing.pth": "nothing.pth",
    "nothing.safetensors photographs -o maps": "nothing.safetensors",
}


@pytest.mark.usefixtures("_room")
@pytest.mark.parametrize("line", REFUSED)
def test_bad_input_is_one_line_and_leaves_nothing(line, capsys, tmp_path):
    assert call(f"maps {line}") == 2
    error = capsys.readouterr().err
    assert error.startswith("surgeon: ") and REFUSED[line] in error and error.count("\n") == 1
    assert not (tmp_path / "maps").exists() and len([*(tmp_path / "photographs").iterdir()]) == 2


@pytest.mark.usefixtures("_room")
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nothing.safetensors photographs", "nothing.safetensors"),
        ("se.safetensors nothing.png", "there is no image nothing.png"),
        ("se.safetensors photographs", "matplotlib can't be imported"),
    ],
)
def test_what_is_missing_of_the_users_own_is_said_first(line, told, monkeypatch, capsys):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(needs, "import_module", missing)
    assert call(f"maps {line} --output maps") == 2
    error = capsys.readouterr().err
    assert told in error and ("matplotlib" in error) == ("matplotlib" in told)
