"""`surgeon compare` and `surgeon rank` on files: figures, pages, the best sites alone, and one line for what is wrong."""

import json

import pytest
import torch

import surgeon
from surgeon.cli import run
from tests.shared.gates import stir
from tests.shared.small import tiny

pytestmark = pytest.mark.network


@pytest.fixture
def _room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = surgeon.inject(surgeon.samples.load("digits"), "se")
    surgeon.save(stir(model), "se.safetensors")
    surgeon.save(surgeon.samples.load("digits"), "plain.safetensors")
    surgeon.save(tiny(), "other.safetensors")
    (tmp_path / "empty").mkdir()


def call(line):
    return run(line.split())


@pytest.mark.usefixtures("_room")
def test_compare(tmp_path, capsys):
    assert call("compare sample:digits se.safetensors --data sample:digits --html page.html --json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 500 and [side["name"] for side in told["sides"]] == [
        "base",
        "with attention",
        "attention off",
    ]
    assert told["sides"][0]["right"] == told["sides"][2]["right"] == 487
    assert "surgeon compare" in (tmp_path / "page.html").read_text()


@pytest.mark.usefixtures("_room")
def test_a_checkpoint_of_the_base(capsys):
    torch.save(surgeon.samples.load("digits").state_dict(), "digits.pth")
    assert call("compare digits.pth se.safetensors --data sample:digits") == 0
    assert "against base" in capsys.readouterr().out


@pytest.mark.usefixtures("_room")
def test_rank_and_keep(tmp_path, capsys):
    assert call("rank se.safetensors --data sample:digits --keep 2 -o best.safetensors --html page.html --json") == 0
    told = json.loads(capsys.readouterr().out)
    best = [site["path"] for site in told["sites"][:2]]
    kept, whole = surgeon.load("best.safetensors"), surgeon.load("se.safetensors")
    assert {*surgeon.attention_modules(kept)} == {*best} and len(surgeon.attention_modules(whole)) == 4
    images = surgeon.samples.digits("test")[0][:8]
    gone = [path for path in surgeon.attention_modules(whole) if path not in best]
    with surgeon.disabled(whole, *gone), torch.no_grad():
        assert torch.equal(kept(images), whole(images))
    assert "surgeon rank" in (tmp_path / "page.html").read_text()
    assert call("rank best.safetensors --data sample:digits") == 0 and best[0] in capsys.readouterr().out


REFUSED = {
    "compare sample:digits se.safetensors --data empty": "empty has no image in it",
    "compare sample:digits se.safetensors --data nowhere": "there is no folder nowhere",
    "compare sample:digits plain.safetensors --data sample:digits": "there is no attention in plain.safetensors",
    "compare torchvision:resnet18 se.safetensors --data sample:digits": "not torchvision:resnet18: give that as the base",
    "compare other.safetensors se.safetensors --data sample:digits": "other.safetensors",
    "compare se.safetensors se.safetensors --data sample:digits": "has attention itself: give the plain checkpoint",
    "compare sample:digits se.safetensors --data empty --html se.safetensors": "se.safetensors exists",
    "rank other.safetensors --data sample:digits": "does not run on images|10 classes",
    "rank plain.safetensors --data sample:digits": "there is no attention in plain.safetensors",
    "rank se.safetensors --data empty": "empty has no image in it",
    "rank se.safetensors --data sample:digits --keep 2": "give both or none",
    "rank se.safetensors --data sample:digits --keep 5 -o page.html.pth": "has 4 attention modules",
    "rank se.safetensors --data sample:digits --keep 2 -o se.safetensors": "se.safetensors exists",
}


@pytest.mark.usefixtures("_room")
@pytest.mark.parametrize("line", REFUSED)
def test_bad_input_is_one_line_and_leaves_nothing(line, capsys, tmp_path):
    before = {*tmp_path.iterdir()}
    assert call(line) == 2
    error = capsys.readouterr().err
    assert error.startswith("surgeon: ") and error.count("\n") == 1
    assert any(part in error for part in REFUSED[line].split("|")), error
    assert {*tmp_path.iterdir()} == before


@pytest.mark.usefixtures("_room")
def test_class_counts_that_do_not_match(capsys, tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in ("cat", "dog", "eel"):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        image.new("RGB", (40, 40)).save(tmp_path / "photographs" / name / "1.png")
    assert call("rank se.safetensors --data photographs --size 32,32") == 2
    told = "photographs has 3 classes (cat, dog, eel), and the head of ResNet has 10"
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("_room")
def test_a_budget_for_a_plan(capsys):
    assert call("plan sample:digits --attention cbam --budget parameters=0.01 --json") == 0
    assert 0 < len(json.loads(capsys.readouterr().out)["sites"]) < 4
    assert call("inject sample:digits --attention cbam --budget parameters=0.01 -o few.safetensors -q") == 0
    assert 0 < len(surgeon.attention_modules(surgeon.load("few.safetensors"))) < 4
    assert call("plan sample:digits --attention cbam --budget macs") == 2
    assert "--budget macs: write key=value, such as macs=0.02" in capsys.readouterr().err
