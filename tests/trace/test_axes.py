"""Which axis counts channels after each operator."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from surgeon.trace.recorder import observe
from surgeon.trace.skeleton import skeleton

CONV, LINEAR = torch.ones(8, 3, 3, 3), torch.ones(5, 8)
WAYS = {
    "image": (lambda x: x * 1, 1),
    "conv": (lambda x: F.conv2d(x, CONV), 1),
    "pool": (lambda x: F.max_pool2d(x, 2), 1),
    "adaptive pool": (lambda x: F.adaptive_avg_pool2d(x, 1), 1),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2), 1),
    "to NHWC": (lambda x: x.permute(0, 2, 3, 1), 3),
    "to NHWC by keyword": (lambda x: x.permute(dims=(0, 2, 3, 1)), 3),
    "negative axes": (lambda x: x.permute(0, -2, -1, -3), 3),
    "and back": (lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2), 1),
    "torch.permute": (lambda x: torch.permute(x, (0, 2, 3, 1)), 3),
    "tokens": (lambda x: x.flatten(2).transpose(1, 2), 2),
    "tokens by keyword": (lambda x: x.flatten(2).transpose(dim0=1, dim1=2), 2),
    "a linear layer": (lambda x: F.linear(F.conv2d(x, CONV).permute(0, 2, 3, 1), LINEAR), 3),
    "a linear layer over tokens": (lambda x: F.linear(x.flatten(2), torch.ones(5, 256)), 1),
    "largest of windows": (lambda x: x.flatten(2).transpose(1, 2).reshape(2, 4, 64, 3).amax(dim=1), 2),
    "mean of all channels": (lambda x: x.mean(1, keepdim=True), None),
    "mean of all channels, counted from the end": (lambda x: x.mean(-3, keepdim=True), None),
    "mean of all channels, in a list": (lambda x: x.mean([1], keepdim=True), None),
    "mean over pixels": (lambda x: x.mean((-2, -1), keepdim=True), 1),
    "mean over pixels by another name": (lambda x: torch.mean(x, axis=(2, 3), keepdim=True), 1),
    "mean over one axis": (lambda x: x.mean(-1), 1),
    "mean over one axis, in a tuple": (lambda x: x.mean((-1,)), 1),
    "axes by place and by name": (lambda x: x.flatten(2).transpose(1, dim1=2), 2),
    "layer norm": (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (3,)), 3),
    "sum of two": (lambda x: x + x * 2, 1),
    "times a vector": (lambda x: x * torch.ones(3, 1, 1), 1),
    "joined": (lambda x: torch.cat([x, x], 1), 1),
    "a window": (lambda x: x[:, :, 1:, 1:], 1),
    "rows as tokens": (lambda x: x.permute(0, 2, 3, 1).reshape(2, -1, 3), 2),
    "grid of tokens": (lambda x: x.flatten(2).transpose(1, 2).reshape(2, 16, 16, 3), 3),
    "mixed up": (lambda x: x.reshape(2, 16, 16, 3), None),
    "flat": (lambda x: x.flatten(1), None),
}


class Way(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("way", WAYS)
def test_channel_axis(way):
    function, axis = WAYS[way]
    graph, error = observe(skeleton(Way(function), numbers=True), (torch.zeros(2, 3, 16, 16),))
    assert error is None and graph.nodes[-1].outputs[0].axis == axis


@pytest.mark.parametrize(("layer", "axis"), [(nn.Conv3d(3, 4, 1), 1), (nn.BatchNorm3d(3), 1), (nn.MaxPool3d(2), 1)])
def test_video(layer, axis):
    graph, _ = observe(skeleton(layer, numbers=True), (torch.zeros(2, 3, 4, 8, 8),))
    assert graph.outputs[0].axis == axis
