"""How far gates have opened, as reports and files tell it."""

import warnings

import pytest
import torch
import torchvision

import surgeon
from surgeon.cli import run
from surgeon.errors import HardlyOpened
from surgeon.sites import opened_in_words

pytestmark = pytest.mark.network


def operated(attention="cbam", **options):
    torch.manual_seed(0)
    return surgeon.inject(torchvision.models.resnet18(num_classes=10), attention, **options)


@pytest.mark.parametrize("attention", ["cbam", "bam", "se", "eca", "timm:gc"])
@pytest.mark.parametrize("init", ["identity", "neutral"])
def test_a_fresh_gate_is_closed(attention, init):
    report = surgeon.report(operated(attention, init=init, where="bottleneck"))
    assert set(report.opened.values()) == {0.0}
    assert str(report).endswith("all gates are closed: the network computes what it did without them")


def test_a_published_gate_is_open():
    # sigmoid of small scores, twice: 0.25 of the map is left.
    opened = surgeon.report(operated(init="paper")).opened
    assert all(0.7 < share < 0.8 for share in opened.values())


def test_a_gate_that_has_hardly_moved_is_told():
    model = operated(init="identity")
    with torch.no_grad():
        model.get_parameter("layer1.0.cbam.channel.gamma").fill_(1e-3)
    with pytest.warns(HardlyOpened, match=r"to 0\.06% \(layer1\.0\.cbam\): hardly at all"):
        surgeon.report(model)
    with torch.no_grad():
        model.get_parameter("layer1.0.cbam.channel.gamma").fill_(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "hardly" not in str(surgeon.report(model))


def test_what_takes_a_modules_place_tells_its_share():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3))
    surgeon.inject(model, "se", where="1", replace=True, example_inputs=torch.zeros(2, 3, 8, 8))
    (gate,) = surgeon.attention_modules(model).values()
    with torch.no_grad():
        gate.share.fill_(-0.2)
    (share,) = surgeon.report(model).opened.values()
    assert share == pytest.approx(0.2)


def test_on_meta_nobody_can_tell():
    with torch.device("meta"):
        report = surgeon.report(operated())
    assert set(report.opened.values()) == {None} and str(report).endswith("can't be told here")


def test_a_file_tells_it(tmp_path, capsys):
    model = operated("se", init="paper", where="final")
    surgeon.save(model, tmp_path / "a.safetensors")
    assert run(["show", str(tmp_path / "a.safetensors")]) == 0
    (path,) = surgeon.report(model).opened
    assert f"({path})" in " ".join(capsys.readouterr().out.split())


def test_in_words():
    words = opened_in_words({"a": 0.5, "b": 0.25, "c": None, "d": 0.3})
    assert words == "gates change a map of noise by 30.00%, from 25.00% (b) to 50.00% (a)"
