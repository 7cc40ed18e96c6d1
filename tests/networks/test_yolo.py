"""ultralytics' detectors keep anchors, strides and the last size in attributes: files of them, before and after a run."""

import pytest
import torch

import surgeon
from tests.shared import yolo
from tests.shared.bits import assert_same_bits

pytestmark = [pytest.mark.clients]

pytest.importorskip("ultralytics", reason="ultralytics is not installed: pip install -e '.[test,test-clients]'")


def tensors(answer):
    return [leaf for leaf in torch.utils._pytree.tree_leaves(answer) if isinstance(leaf, torch.Tensor)]


@torch.no_grad()
@pytest.mark.parametrize("has_run", [False, True])
@pytest.mark.parametrize("name", ["v8n", "v8n_seg", "v11n"])
def test_a_detector_comes_back(name, has_run, tmp_path):
    torch.manual_seed(0)
    image = torch.rand(1, 3, 96, 128)
    model = surgeon.inject(getattr(yolo, name)().eval(), "cbam", where="residual")
    if has_run:
        model(image)
    surgeon.save(model, tmp_path / "a.safetensors", base=f"tests.shared.yolo:{name}")
    again = surgeon.load(tmp_path / "a.safetensors", allow_imports=True)
    assert_same_bits(model, again)
    for size in (image.shape[2:], (64, 64)):
        x = torch.rand(1, 3, *size)
        expected = tensors(model(x))
        assert expected and all(map(torch.equal, expected, tensors(again(x))))
