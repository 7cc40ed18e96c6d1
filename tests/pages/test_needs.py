"""Packages that pictures need: what is not there is one line that says what to install."""

import pytest
import torch

import surgeon
from surgeon.errors import NotInstalled
from surgeon.pages import needs
from surgeon.pages.maps import AttentionMaps
from tests.shared import toy


@pytest.fixture
def _without(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(needs, "import_module", missing)


def told(package):
    return rf'{package} can\'t be imported \(.*\): pip install "attention-surgeon\[plots\]" brings what maps need\.$'


@pytest.mark.usefixtures("_without")
def test_what_is_not_installed_is_named(tmp_path):
    images = toy.image()
    model = surgeon.inject(toy.Net().eval(), "se", example_inputs=images)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(NotInstalled, match=told("pillow")):
        surgeon.maps(model, [tmp_path / "a.png"])
    with pytest.raises(NotInstalled, match=told("grad-cam")):
        surgeon.maps(model, images)
    seen = surgeon.maps(model, images, cam=False)
    with pytest.raises(NotInstalled, match=told("matplotlib")):
        seen.save(tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_a_map_without_anything_to_show():
    seen = AttentionMaps(("a",), torch.zeros(1, 3, 4, 4), {}, {})
    assert not seen.cams and not seen.silent
