"""Modules that take images alone, at videos and sequences: frame by frame, and as one column of pixels."""

import pytest
import torch
from torch import nn

import surgeon
from surgeon.attention import attention_modules, build, cost
from surgeon.attention.layouts import Layout
from surgeon.errors import BadModule
from tests.shared.gates import randomized
from tests.shared.modules import Scaled, Squeezed, anywhere

GATES = {
    "timm:gc": "timm:gc",
    "timm:coord": "timm:coord",
    "timm:nl": "timm:nl",
    "timm:cbam": "timm:cbam",
    "Scaled": Scaled,
}
VIDEO = {
    "NCDHW": (Layout("NCDHW", (3, 4, 5)), (2, 16, 3, 4, 5), lambda x: x),
    "NDHWC": (Layout("NDHWC", (3, 4, 5)), (2, 3, 4, 5, 16), lambda x: x.permute(0, 4, 1, 2, 3)),
    "tokens": (Layout("NLC", (3, 4, 5)), (2, 60, 16), lambda x: x.permute(0, 2, 1).reshape(2, 16, 3, 4, 5)),
}


def moved(name, dims, init):
    torch.manual_seed(0)
    return randomized(build(GATES[name], 16, dims=dims, init=init)).eval()


def applied(gate, x):
    """What the gate's own module makes of images, with gamma as the formula has it."""
    y = gate.inner(x)
    return y if gate.gamma is None else x + gate.gamma * (y - x)


@pytest.mark.parametrize("init", ["identity", "paper"])
@pytest.mark.parametrize("layout", VIDEO)
@pytest.mark.parametrize("name", GATES)
def test_a_video_frame_by_frame(name, layout, init):
    how, shape, spelled_out = VIDEO[layout]
    gate, x = moved(name, 3, init), torch.randn(shape, dtype=torch.float64, requires_grad=True)
    want = torch.stack([applied(gate, frame) for frame in spelled_out(x).unbind(2)], 2)
    gate.layout = how
    y = gate(x)
    torch.testing.assert_close(spelled_out(y), want, rtol=1e-10, atol=1e-10)
    assert y.is_contiguous() and not torch.allclose(y, x)
    grad = torch.randn_like(y)
    leaves = [x, *gate.parameters()]
    got, expected = torch.autograd.grad(y, leaves, grad), torch.autograd.grad(want, leaves, spelled_out(grad))
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("init", ["identity", "paper"])
@pytest.mark.parametrize("name", GATES)
def test_a_sequence_as_one_column(name, init):
    gate, x = moved(name, 1, init), torch.randn(2, 7, 16, dtype=torch.float64)
    want = applied(gate, x.permute(0, 2, 1).reshape(2, 16, 7, 1)).reshape(2, 16, 7).permute(0, 2, 1)
    gate.layout = Layout("NLC", (7,))
    torch.testing.assert_close(gate(x), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("factory", "seen"), [(Scaled, 2), (Squeezed, 3), (anywhere, 3), ("timm:se", 2)])
@pytest.mark.parametrize("channels", [8, 56, 112])
def test_a_module_gets_the_whole_video_if_it_takes_one(factory, seen, channels):
    """Also with as many channels as a map on which it is tried has pixels."""
    gate = build(factory, channels, dims=3)
    assert gate.inner_dims == seen and gate.dims == 3
    shapes = []
    gate.inner.register_forward_pre_hook(lambda module, args: shapes.append(tuple(args[0].shape)))
    gate(torch.randn(2, channels, 3, 4, 5))
    assert shapes == [(2, channels, 3, 4, 5) if seen == 3 else (6, channels, 4, 5)]


class Remembering(Scaled):
    """Keeps a grid for the last shape that it saw, as modules with positions do."""

    grid = None

    def forward(self, x):
        n, channels, height, width = x.shape
        if self.grid is None:
            self.grid = torch.ones(1, channels, 1, 1, device=x.device)
        return super().forward(x) * self.grid


def test_finding_out_leaves_nothing_behind():
    gate = build(Remembering, 16, dims=3, init="paper")
    assert gate.inner_dims == 2 and gate.inner.grid is None
    x = torch.randn(2, 16, 3, 4, 5)
    torch.testing.assert_close(gate(x), x * gate.inner.scale[..., None])


def test_the_cost_of_a_module_is_that_of_all_frames():
    image, video = build("timm:se", 16), build("timm:se", 16, dims=3)
    weights, macs = cost(image, (16, 4, 5))
    assert macs > 0 and cost(video, (16, 3, 4, 5)) == (weights, 3 * macs)


class Video(nn.Module):
    """One residual block over a clip."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.fc = nn.Conv3d(3, 16, 1), Block(), nn.Linear(16, 4)

    def forward(self, x):
        return self.fc(self.block(self.stem(x)).mean((2, 3, 4)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(16, 16, 3, padding=1)

    def forward(self, x):
        return torch.relu(x + self.conv(x))


@pytest.mark.parametrize("attention", ["timm:gc", Scaled])
def test_in_a_network_for_video(attention):
    model, clip = Video().eval(), torch.randn(2, 3, 4, 6, 5)
    before = model(clip)
    surgeon.inject(model, attention, where="residual", example_inputs=clip)
    (gate,) = attention_modules(model).values()
    assert torch.equal(model(clip), before) and (gate.layout.name, gate.inner_dims) == ("NCDHW", 2)
    nn.init.ones_(gate.gamma)
    assert not torch.equal(model(clip), before)


class Halved(nn.Module):
    """A user's module that returns half of the rows."""

    def __init__(self, channels):
        super().__init__()
        self.pool = nn.MaxPool3d(2)

    def forward(self, x):
        return self.pool(x)


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        (Halved, r"^block: after conv: Halved changes the shape: 2 x 16 x 4 x 6 x 5 in, 2 x 16 x 2 x 3 x 2 out\."),
        (
            lambda channels: nn.Conv2d(8, 8, 1),
            r"^block: after conv: Conv2d does not run on a map of 2 x 16 x 4 x 6 x 5: RuntimeError: ",
        ),
    ],
)
def test_what_fits_neither_clips_nor_frames_is_refused_with_its_site(attention, message):
    model, clip = Video(), torch.randn(2, 3, 4, 6, 5)
    with pytest.raises(BadModule, match=message) as caught:
        surgeon.plan(model, attention, where="residual", example_inputs=clip)
    assert "\n" not in str(caught.value) and not attention_modules(model)
