"""Networks with habits: quantizable, pruned, averaged, in detectors, with tables and tuples of their own."""

from collections import namedtuple

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn.utils import prune
from torchvision.models import detection, quantization

import surgeon
from tests.shared import toy

pytestmark = pytest.mark.network

Answer = namedtuple("Answer", "scores size")


def kept(model, x, where="residual", **options):
    """Every gate is asked once, the output keeps its bits, and the network comes back as it was."""
    y = model.eval()(x)
    before = repr(model)
    surgeon.inject(model, toy.Mark, where=where, **options)
    again = model(x)
    assert [gate.calls for gate in surgeon.attention_modules(model).values()] == [1] * len(
        surgeon.attention_modules(model)
    )
    assert repr(surgeon.remove(model)) == before
    return torch.equal(y, again) if isinstance(y, torch.Tensor) else repr(y) == repr(again)


@pytest.mark.parametrize("where", ["residual", "bottleneck", "final"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@pytest.mark.filterwarnings("ignore:.*torch.ao.*:DeprecationWarning")
def test_quantizable_networks_in_float(name, where):
    model = getattr(quantization, name)(quantize=False, num_classes=4)
    with torch.no_grad():
        assert kept(model, torch.randn(1, 3, 64, 64), where)


@torch.no_grad()
@pytest.mark.parametrize(
    "shape", [tuple, list, lambda y: {"scores": y}, lambda y: Answer(y, 3)], ids=["tuple", "list", "dict", "named"]
)
def test_outputs_of_any_shape(shape):
    assert kept(toy.Returns(toy.Net(), shape), toy.image())


def test_frozen_norms_of_detectors():
    model = torchvision.models.resnet18(norm_layer=torchvision.ops.FrozenBatchNorm2d, num_classes=4)
    assert kept(model, torch.randn(1, 3, 64, 64)) and kept(model, torch.randn(1, 3, 64, 64), "layer1.0.bn1")


def test_activations_kept_and_thrown_away():
    model = torchvision.models.DenseNet(8, (2, 2), 16, num_classes=4, memory_efficient=True)
    assert kept(model, torch.randn(1, 3, 64, 64), "final")


def test_a_network_inside_another():
    class Wraps(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = timm.create_model("test_resnet", num_classes=0), nn.LazyLinear(3)

        def forward(self, x):
            return self.head(self.backbone(x))

    model, x = Wraps(), torch.randn(2, 3, 64, 64)
    model(x)
    assert kept(model, x) and kept(model, x, "final")


def test_a_block_in_two_parents():
    block = toy.Residual()
    model, x = toy.Net(nn.Sequential(nn.Sequential(block, nn.ReLU()), nn.Sequential(block))).eval(), toy.image()
    y = model(x)
    surgeon.inject(model, toy.Mark)
    assert torch.equal(model(x), y) and model.block[0][0] is model.block[1][0] is block and block.mark.calls == 2


def test_tied_weights_stay_tied():
    model = toy.Net()
    model.down[0].weight = model.block.conv.weight
    surgeon.inject(model, "cbam", where=["residual", "final"])
    assert model.down[0].weight is model.block.conv.weight
    assert kept(surgeon.remove(model), toy.image())


def test_a_forward_called_by_its_name():
    class Direct(toy.Net):
        def forward(self, x):
            return self.fc(self.down(self.block.forward(self.stem(x))).mean((2, 3)))

    assert kept(Direct(), toy.image())


def test_forwards_set_on_objects_that_own_nothing():
    model = toy.Net()
    forward = model.forward
    model.forward = lambda x: forward(x) * 2
    assert kept(model, toy.image())


def test_pruning_and_averaging_afterwards():
    model, x = surgeon.inject(toy.Net(), "cbam").eval(), toy.image()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    assert torch.equal(averaged(x), model(x)) and len(surgeon.attention_modules(averaged)) == 1
    assert torch.equal(torch.func.functional_call(model, dict(model.named_parameters()), (x,)), model(x))
    prune.l1_unstructured(model.block.conv, "weight", 0.5)
    assert model(x).isfinite().all() and len(surgeon.attention_modules(model)) == 1
    surgeon.remove(model)
    assert prune.is_pruned(model.block.conv)


def detector():
    return detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)


def test_a_detector_learns():
    model = surgeon.inject(detector().train(), "cbam")
    targets = [{"boxes": torch.tensor([[1.0, 1.0, 30.0, 30.0]]), "labels": torch.tensor([1])}]
    sum(model([torch.rand(3, 64, 64)], targets).values()).backward()
    grads = [weight.grad for weight in surgeon.attention_parameters(model).values()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


def test_a_look_at_a_detector_leaves_its_anchors():
    model = detector().train()
    anchors = model.rpn.anchor_generator.cell_anchors
    surgeon.plan(model, "cbam")
    assert model.rpn.anchor_generator.cell_anchors is anchors and not any(anchor.is_meta for anchor in anchors)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    "example", [None, ([torch.zeros(3, 64, 64), torch.zeros(3, 70, 80)],)], ids=["guessed", "given"]
)
def test_the_output_of_a_detector_is_checked(example):
    model = surgeon.inject(detector(), "cbam", check="output", example_inputs=example)
    assert len(surgeon.attention_modules(model)) == 10


@pytest.mark.parametrize("kind", [None, "hook", "dict"])
def test_features_by_hook(kind):
    options = {} if kind is None else {"feature_cls": kind}
    model = timm.create_model("test_convnext", features_only=True, **options)
    with torch.no_grad():
        assert kept(model, torch.randn(1, 3, 64, 64), ["residual", "bottleneck", "final"])
