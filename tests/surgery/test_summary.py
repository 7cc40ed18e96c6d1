"""A report, and a file, say what attention costs as the plan did."""

import pytest
import torch
import torchvision

import surgeon
from surgeon.files import intake
from surgeon.networks import library
from tests.shared.own_networks import Scaled

pytestmark = pytest.mark.network


class Mine(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x * self.conv(x).sigmoid()


@pytest.mark.parametrize("attention", ["cbam", "timm:gc", Mine])
@pytest.mark.parametrize(
    "build",
    [torchvision.models.resnet18, torchvision.models.swin_t, torchvision.models.video.mc3_18],
    ids=["NCHW", "NHWC", "video"],
)
def test_costs_are_those_of_the_plan(build, attention):
    model = build().eval()
    plan = surgeon.plan(model, attention, where="final")
    surgeon.inject(model, attention, where="final")
    report = surgeon.report(model)
    assert tuple(report.gates.values()) == plan.sites and report.macs == sum(site.macs for site in plan) > 0
    assert report.added == sum(site.parameters for site in plan) > 0
    assert (
        f"+ {report.macs:,} MACs an image" in str(report) and f"{plan.sites[0].macs:,}" in str(report).splitlines()[2]
    )


def test_costs_are_in_the_file(tmp_path):
    model = library.build("timm:test_resnet")
    plan = surgeon.plan(model, "cbam")
    surgeon.save(surgeon.inject(model, "cbam"), tmp_path / "a.safetensors")
    (operation,) = intake.open_surgeon_file(tmp_path / "a.safetensors").recipe.operations
    assert operation.sites == plan.sites and all(site.macs for site in plan)


def test_no_attention():
    assert str(surgeon.report(Scaled())) == "no attention; 224 parameters"


def test_a_report_changes_nothing():
    model = surgeon.inject(torchvision.models.resnet18(), "cbam")
    sites = {path: gate.site for path, gate in surgeon.attention_modules(model).items()}
    assert all(site.macs is None for site in sites.values())
    before = {key: (id(value), value._version) for key, value in model.state_dict(keep_vars=True).items()}
    surgeon.report(model)
    assert {key: (id(value), value._version) for key, value in model.state_dict(keep_vars=True).items()} == before
    assert {path: gate.site for path, gate in surgeon.attention_modules(model).items()} == sites
    assert not surgeon.attention_modules(surgeon.remove(model))


@pytest.mark.parametrize("attention", ["cbam", "timm:gc"])
def test_a_report_under_inference_mode(attention):
    model = surgeon.inject(torchvision.models.resnet18(), attention, where="final")
    expected = surgeon.report(model)
    with torch.inference_mode():
        assert surgeon.report(model) == expected
