"""What is compiled stays so in copies and in files."""

import copy
import pickle

import pytest
import timm
import torch

import surgeon
from surgeon.attention import build

pytestmark = pytest.mark.network


@pytest.mark.parametrize("target", ["net.pth", "net.safetensors", "folder"])
def test_what_is_compiled_stays_so_in_copies_and_files(target, tmp_path, monkeypatch):
    monkeypatch.setattr("surgeon.attention.compiling.missing", lambda device: None)
    model = surgeon.inject(timm.create_model("test_resnet", num_classes=4), "cbam", compile=True)
    surgeon.save(model, tmp_path / target)
    for other in (model, copy.deepcopy(model), surgeon.load(tmp_path / target)):
        assert {gate.passes for gate in surgeon.attention_modules(other).values()} == {"compiled"}


def test_gates_that_were_pickled_before_there_was_a_choice_still_run():
    gate = build("cbam", 8, init="paper").eval()
    del gate.passes
    x = torch.randn(2, 8, 5, 6)
    assert torch.equal(pickle.loads(pickle.dumps(gate))(x), gate(x))
