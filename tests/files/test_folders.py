"""What timm's scripts make of a folder that surgeon wrote: features, checkpoints that name it, another head."""

import argparse

import pytest
import timm
import torch

import surgeon
from surgeon.errors import BadFile, BadOption
from tests.shared.folders import from_folder
from tests.shared.small import output, tiny

pytestmark = pytest.mark.network


@pytest.fixture
def folder(tmp_path):
    surgeon.save(tiny(), tmp_path / "folder")
    return tmp_path / "folder"


def checkpoint(model, folder, path, **more):
    """As timm's CheckpointSaver leaves it."""
    name = f"local-dir:{folder}"
    args = argparse.Namespace(model=name)
    torch.save({"epoch": 1, "arch": name, "state_dict": model.state_dict(), "args": args, "version": 2} | more, path)
    return path


@pytest.mark.parametrize("classes", [4, 7])
def test_a_checkpoint_of_a_run_that_names_a_folder(folder, classes, tmp_path):
    model = from_folder(folder, pretrained=True, num_classes=classes)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.01)
    again = surgeon.load(checkpoint(model, folder, tmp_path / "model_best.pth.tar"))
    assert torch.equal(output(again), output(model)) and surgeon.attention_modules(again)
    # It is a network like any other from here on.
    surgeon.save(again, tmp_path / "again.safetensors")
    assert torch.equal(output(surgeon.load(tmp_path / "again.safetensors")), output(model))


def test_a_checkpoint_that_is_not_of_its_folder_is_refused(folder, tmp_path):
    model = timm.create_model("test_vit", num_classes=4)
    with pytest.raises(BadFile, match=r"model_best\.pth\.tar says that it is .*folder.*, and is not: .*'conv1"):
        surgeon.load(checkpoint(model, folder, tmp_path / "model_best.pth.tar"))


@torch.no_grad()
@pytest.mark.parametrize("indices", [None, (1, 3)])
def test_features_only(folder, indices):
    model = from_folder(folder, pretrained=True).eval()
    features = from_folder(folder, pretrained=True, features_only=True, out_indices=indices).eval()
    stock = timm.create_model("test_resnet", features_only=True, out_indices=indices)
    x = torch.randn(2, 3, 64, 64)
    maps = features(x)
    assert [found.shape for found in maps] == [found.shape for found in stock(x)]
    assert features.feature_info.channels() == stock.feature_info.channels()
    assert torch.equal(maps[-1], model.forward_intermediates(x, indices=indices, intermediates_only=True)[-1])
    with surgeon.disabled(features):
        assert not torch.equal(features(x)[-1], maps[-1])


def test_features_of_another_kind_are_refused(folder):
    with pytest.raises(BadOption, match="by feature_cls='getter': leave it out"):
        from_folder(folder, features_only=True, feature_cls="hook")
