"""What each axis counts, followed through the ways in which networks lay out their pixels."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from surgeon.trace.recorder import observe
from surgeon.trace.skeleton import skeleton

HEIGHT, WIDTH = 6, 8


def windows(x):
    n, h, w, c = x.permute(0, 2, 3, 1).shape
    return x.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2, c).transpose(2, 3).reshape(-1, 4, c)


def and_back(x):
    n, c, h, w = x.shape
    return windows(x).view(n, h // 2, w // 2, 2, 2, c).transpose(2, 3).reshape(n, h * w, c)


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def attended(x):
    rows = tokens(x)
    return torch.softmax(rows @ rows.mT.contiguous(), -1) @ rows


def cross_attended(x):
    queries = torch.zeros(2, HEIGHT * WIDTH, 4, device=x.device)
    return torch.softmax(queries @ x.flatten(2), -1) @ tokens(x)


CASES = {
    # What is made of an image of 6 x 8 pixels, the axis that is asked for, and what it counts: sizes, tokens in front.
    "flattened": (tokens, 1, ([6, 8], 0)),
    "a token in front": (lambda x: F.relu(torch.cat([x.new_zeros(2, 1, 4), tokens(x)], 1)), 1, ([6, 8], 1)),
    "and taken away": (lambda x: torch.cat([x.new_zeros(2, 1, 4), tokens(x)], 1)[:, 1:], 1, ([6, 8], 0)),
    "some behind": (lambda x: torch.cat([tokens(x), x.new_zeros(2, 2, 4)], 1), 1, None),
    "windows": (windows, 1, ([2, 2], 0)),
    "windows and back": (and_back, 1, ([6, 8], 0)),
    "thinned out": (lambda x: x.permute(0, 2, 3, 1)[:, ::2, ::2].reshape(2, -1, 4), 1, ([3, 4], 0)),
    "pooled in windows": (lambda x: windows(x).view(2, 12, 4, 4).amax(2), 1, ([3, 4], 0)),
    "patches": (lambda x: F.unfold(x, 2, stride=2), 2, ([3, 4], 0)),
    "patches that overlap": (lambda x: F.unfold(x, 3, padding=1, stride=2), 2, ([3, 4], 0)),
    "one row of pixels": (lambda x: x[:, :, :1].flatten(2), 2, ([1, 8], 0)),
    "one column": (lambda x: x[:, :, :, :1].flatten(2), 2, ([6, 1], 0)),
    "einsum": (lambda x: torch.einsum("nchw->nhwc", x).flatten(1, 2), 1, ([6, 8], 0)),
    "attention by hand": (attended, 1, ([6, 8], 0)),
    "as many queries": (cross_attended, 1, None),
    "heads": (lambda x: tokens(x).view(2, -1, 2, 2).transpose(1, 2).transpose(1, 2).flatten(2), 1, ([6, 8], 0)),
    "what is picked": (lambda x: torch.sort(tokens(x), 1)[0], 1, None),
    "two maps in a row": (lambda x: torch.cat([tokens(x), tokens(x)], 1), 1, None),
    "halves": (lambda x: tokens(x).chunk(2, -1)[1], 1, ([6, 8], 0)),
    "a stack": (lambda x: torch.stack([tokens(x), tokens(x)], 1)[:, 0], 1, ([6, 8], 0)),
    "embedded numbers": (lambda x: F.embedding(tokens(x)[..., 0].long(), x.new_zeros(9, 4)), 1, None),
}


class Made(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize("name", CASES)
def test_what_an_axis_counts(name):
    make, at, expected = CASES[name]
    graph, error = observe(skeleton(Made(make)), (torch.zeros(2, 4, HEIGHT, WIDTH, device="meta"),))
    assert error is None
    axis = graph.outputs[0].counts[at]
    sides = axis.sides if axis is not None else []
    found = ([axis.extent(side) for side in sides], axis.before) if len(sides) == 2 and not axis.after else None
    assert found == expected
