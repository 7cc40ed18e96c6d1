"""Freezing all but the attention, and who learns how fast."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from surgeon.attention import attention_parameters, build
from surgeon.errors import BadModel
from surgeon.surgery.training import freeze, param_groups

pytestmark = pytest.mark.network


class Net(nn.Module):
    """A network with attention and a head; `layers` has norms of both kinds."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.cbam = build("cbam", 8)
        self.fc = nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(self.cbam(self.bn(self.conv(x)).relu()).mean((2, 3)))


def trainable(model):
    return {key for key, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize(
    ("head", "more"), [(False, set()), (True, {"fc.weight", "fc.bias"}), ("conv", {"conv.weight", "conv.bias"})]
)
def test_freeze(head, more):
    model = freeze(Net(), head=head)
    assert trainable(model) == set(attention_parameters(model)) | more
    assert not model.bn.training and model.cbam.spatial.bn.training and model.training


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_frozen_weights_stay_put_in_an_optimizer_that_exists(optimizer):
    """Weight decay and momentum move whatever still has a gradient."""
    torch.manual_seed(0)
    model = Net()
    options = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if optimizer is torch.optim.SGD else {})
    optimizer = optimizer(model.parameters(), **options)

    def step():
        model(torch.randn(4, 3, 8, 8)).square().mean().backward()
        optimizer.step()

    step()
    freeze(model)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    step()
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved and all(key.startswith("cbam.") for key in moved)


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (torchvision.models.resnet18, {"fc.weight", "fc.bias"}),
        (torchvision.models.mobilenet_v2, {"classifier.1.weight", "classifier.1.bias"}),
        (torchvision.models.vit_b_32, {"heads.head.weight", "heads.head.bias"}),
        (lambda: timm.create_model("convnext_atto"), {"head.fc.weight", "head.fc.bias"}),
        (
            lambda: timm.create_model("deit_tiny_distilled_patch16_224"),
            {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"},
        ),
    ],
)
def test_the_head_of_real_networks(model, head):
    with torch.device("meta"):
        model = model()
        model.add_module("cbam", build("cbam", 8))
    assert trainable(freeze(model, head=True)) == head | set(attention_parameters(model))


@pytest.mark.parametrize(
    ("model", "head", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2)), False, r"^this model has no attention to train; inject some first\.$"),
        (
            nn.Sequential(build("se", 8)),
            True,
            r"^can't tell the head of this Sequential: say where it is, as in head='fc'\.$",
        ),
        (Net(), "top", r"^there is no module 'top' in this Net to be its head\.$"),
    ],
)
def test_freeze_says_what_it_lacks(model, head, message):
    with pytest.raises(BadModel, match=message):
        freeze(model, head=head)
    assert all(weight.requires_grad for weight in model.parameters())


def test_groups_by_rate_and_decay():
    model = Net()
    groups = param_groups(model, lr=1e-3, attention_lr=1e-2, weight_decay=0.05)
    names = {id(weight): key for key, weight in model.named_parameters()}
    found = {(g["lr"], g["weight_decay"]): {names[id(weight)] for weight in g["params"]} for g in groups}
    assert found == {
        (1e-3, 0.05): {"conv.weight", "fc.weight"},
        (1e-3, 0.0): {"conv.bias", "bn.weight", "bn.bias", "fc.bias"},
        (1e-2, 0.05): {"cbam.channel.fc1.weight", "cbam.channel.fc2.weight", "cbam.spatial.conv.weight"},
        (1e-2, 0.0): {
            "cbam.channel.fc1.bias", "cbam.channel.fc2.bias", "cbam.channel.gamma", "cbam.spatial.gamma",
            "cbam.spatial.bn.weight", "cbam.spatial.bn.bias",
        },
    }  # fmt: skip


def test_groups_leave_out_what_is_frozen_and_honour_timms_list():
    with torch.device("meta"):
        model = timm.create_model("vit_tiny_patch16_224")
        model.add_module("se", build("se", 8))
    spared = [group for group in param_groups(model, lr=1, weight_decay=1) if group["weight_decay"] == 0]
    assert any(weight is model.pos_embed for group in spared for weight in group["params"])
    groups = param_groups(freeze(model), lr=1)
    assert {w for group in groups for w in group["params"]} == set(attention_parameters(model).values())


def test_an_optimizer_that_exists_gets_the_attention_alone():
    model = Net()
    optimizer = torch.optim.SGD([*model.conv.parameters(), *model.bn.parameters(), *model.fc.parameters()], lr=0.1)
    for group in param_groups(model, lr=0.1, attention_lr=1.0, optimizer=optimizer):
        optimizer.add_param_group(group)
    held = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert len(held) == len(set(held)) and set(held) == set(model.parameters())
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1.0, 1.0]


@pytest.mark.parametrize(
    ("attention", "init", "pace"),
    [
        ("cbam", "eager", 1),
        ("cbam", "paper", 1),
        ("se", "neutral", 10),
        ("se", "identity", 10),
        ("timm:gc", "eager", 10),
    ],
)
def test_gates_that_hardly_open_get_a_rate_of_their_own(attention, init, pace):
    model = Net()
    model.cbam = build(attention, 8, init=init)
    own = set(model.cbam.parameters())
    rates = {group["lr"] for group in param_groups(model, lr=0.5) if own & set(group["params"])}
    assert rates == {0.5 * pace}
    assert {group["lr"] for group in param_groups(model, lr=0.5, attention_lr=0.25)} == {0.5, 0.25}


def test_what_takes_a_modules_place_gets_a_rate_of_its_own():
    assert build("se", 8, init="eager", instead=True).pace == 10
