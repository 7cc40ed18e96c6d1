"""What a .safetensors file says before its weights."""

import json

import pytest
import safetensors.torch
import torch

from surgeon.checkpoints.header import read_header, settle

TEXTS = {
    "surgeon": json.dumps({"a": 'é \u2028 \x7f "quoted" \\ \n\t\b\x1f', "b": "\U0001f600"}),
    "format": "pt",
    "other": "x",
}


@pytest.mark.parametrize("turn", range(4))
def test_the_same_is_written_in_the_same_bytes(turn, tmp_path):
    weights = {"b": torch.arange(3.0), "a": torch.zeros(2, 2)}
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(weights, path, metadata=TEXTS)
    before, entries = path.read_bytes(), read_header(path).tensors
    settle(path)
    after = path.read_bytes()
    assert len(after) == len(before) and sorted(after) == sorted(before)
    names = [*json.loads(after[8 : 8 + int.from_bytes(after[:8], "little")])["__metadata__"]]
    assert names == sorted(TEXTS)
    assert read_header(path).metadata == TEXTS and [*read_header(path).tensors.items()] == [*entries.items()]
    assert all(torch.equal(safetensors.torch.load_file(path)[key], value) for key, value in weights.items())
