"""Saving a network that accelerate has prepared, and one that a LightningModule holds."""

import pytest
import torch

import surgeon
from surgeon.errors import BadModel
from surgeon.files.label import read_label
from tests.shared.bits import assert_same_bits
from tests.shared.small import output, tiny

pytestmark = [pytest.mark.tools]

INSTALL = "is not installed: pip install -e '.[test,test-tools]'"


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_what_accelerate_has_prepared(precision, tmp_path):
    accelerate = pytest.importorskip("accelerate", reason=f"accelerate {INSTALL}")
    # It allows one precision a process.
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    model = tiny()
    expected = output(model)
    accelerator = accelerate.Accelerator(mixed_precision=precision, cpu=True)
    prepared = accelerator.prepare(model)
    surgeon.save(prepared, tmp_path / "a.safetensors")
    unwrapped = accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
    surgeon.save(unwrapped, tmp_path / "b.safetensors")
    assert torch.equal(output(surgeon.load(tmp_path / "a.safetensors")), expected)
    assert read_label(tmp_path / "a.safetensors") == read_label(tmp_path / "b.safetensors")


def test_what_a_lightning_module_holds(tmp_path):
    lightning = pytest.importorskip("lightning", reason=f"lightning {INSTALL}")

    class Classifier(lightning.LightningModule):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x)

    model = Classifier(tiny())
    with pytest.raises(BadModel, match=r"^Classifier holds the network.*: surgeon.save\(model.net, ...\).$"):
        surgeon.save(model, tmp_path / "a.safetensors")
    surgeon.save(model.net, tmp_path / "a.safetensors")
    assert_same_bits(model.net, surgeon.load(tmp_path / "a.safetensors"))
