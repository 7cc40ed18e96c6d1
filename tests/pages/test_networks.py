"""Pages of the libraries' networks: every site once, what they cost as others count it, and how much they weigh."""

import pytest
import torch
import torchvision
from torchvision.models.detection import fasterrcnn_resnet50_fpn

import surgeon
from surgeon.pages.views import sketched

pytestmark = pytest.mark.network


def build(name, **options):
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None, **options)


# Multiply-adds in G as torchvision documents them, and the sites of `residual`.
NETWORKS = {
    "resnet50": (4.09, 16),
    "mobilenet_v2": (0.30, 10),
    "swin_t": (4.49, 24),
    "convnext_tiny": (4.46, 18),
    "vit_b_16": (17.56, 24),
    "efficientnet_b0": (0.39, 9),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_site_is_in_a_branch_and_costs_are_those_that_are_documented(name):
    model = build(name)
    plan = surgeon.plan(model, "se", where="residual")
    sketch = sketched(model, plan)
    assert [mark.site for mark in sketch.marks] == [*plan]
    assert all(mark.cell is not None for mark in sketch.marks)
    assert sketch.macs / 1e9 == pytest.approx(NETWORKS[name][0], abs=0.006) and len(plan) == NETWORKS[name][1]
    assert sketch.macs == pytest.approx(sum(box.macs for box in sketch.boxes), rel=1e-3)


def test_the_stages_of_a_resnet():
    sketch = sketched(build("resnet50"), surgeon.plan(build("resnet50"), "cbam", where=["residual", "bottleneck"]))
    assert [(stage.name, stage.shape, len(stage.marks)) for stage in sketch.stages] == [
        ("conv1 … relu", "64 × 112 × 112", 0),
        ("layer1", "256 × 56 × 56", 4),
        ("layer2", "512 × 28 × 28", 5),
        ("layer3", "1024 × 14 × 14", 7),
        ("layer4", "2048 × 7 × 7", 3),
        ("avgpool … fc", "1000", 0),
    ]


def test_a_page_weighs_little():
    model = build("resnet50")
    text = surgeon.pages.html(model, surgeon.plan(model, "cbam"))
    assert len(text.encode()) < 100_000
    many = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [25] * 4)
    text = surgeon.pages.html(many, surgeon.plan(many, "se"))
    # Of 1,000 blocks less than 8 MB.
    assert len(text.encode()) < 800_000


def test_of_a_detector_the_backbone_is_drawn_and_that_is_said():
    with torch.device("meta"):
        model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    plan = surgeon.plan(model, "cbam")
    text = surgeon.pages.html(model, plan)
    assert "Only backbone is drawn" in text and text.count('type="checkbox" checked data-n') == len(plan)
