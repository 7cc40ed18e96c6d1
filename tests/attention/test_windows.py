"""Windows of tokens (NGLC) and rows of pixels (NCGL): each is a map of its own to every form of every module."""

import pytest
import torch

from surgeon.attention import build
from surgeon.attention.layouts import Layout
from tests.shared.gates import forms, randomized

SIZE = (3, 4)
# One window as an image of (N, C, 3, 4), and the value put together again from such images.
WINDOWS = {
    "NGLC": (
        (2, 5, 12, 6),
        lambda x, g: x[:, g].permute(0, 2, 1).reshape(2, 6, *SIZE),
        lambda maps: torch.stack([y.reshape(2, 6, 12).permute(0, 2, 1) for y in maps], 1),
    ),
    "NCGL": (
        (2, 6, 5, 12),
        lambda x, g: x[:, :, g].reshape(2, 6, *SIZE),
        lambda maps: torch.stack([y.reshape(2, 6, 12) for y in maps], 2),
    ),
}


def made(name, options, init, training):
    torch.manual_seed(0)
    return randomized(build(name, 6, init=init, **options)).train(training)


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("init", ["identity", "paper"])
@pytest.mark.parametrize("layout", WINDOWS)
@forms
def test_each_window_is_an_image(name, options, layout, init):
    shape, window, together = WINDOWS[layout]
    gate, x = made(name, options, init, False), torch.randn(shape, dtype=torch.float64, requires_grad=True)
    want = together([gate(window(x, g)) for g in range(5)])
    gate.layout = Layout(layout, SIZE)
    y = gate(x)
    close(y, want)
    assert y.is_contiguous() and not torch.allclose(y, x)
    grad, leaves = torch.randn(shape, dtype=torch.float64), [x, *gate.parameters()]
    close(torch.autograd.grad(y, leaves, grad), torch.autograd.grad(want, leaves, grad))


@pytest.mark.parametrize("layout", WINDOWS)
@forms
def test_in_training_they_are_one_batch(name, options, layout):
    """Batch statistics are those of all windows of all images."""
    shape, window, together = WINDOWS[layout]
    gate, twin = made(name, options, "identity", True), made(name, options, "identity", True)
    x = torch.randn(shape, dtype=torch.float64)
    want = together(gate(torch.cat([window(x, g) for g in range(5)])).split(2))
    twin.layout = Layout(layout, SIZE)
    close(twin(x), want)
    close(list(twin.buffers()), list(gate.buffers()))


@pytest.mark.parametrize("layout", WINDOWS)
@forms
def test_gradcheck_in_windows(name, options, layout):
    gate, shape = made(name, options, "identity", False), WINDOWS[layout][0]
    gate.layout = Layout(layout, SIZE)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gate, (x,), fast_mode=True)


@pytest.mark.parametrize("layout", WINDOWS)
def test_windows_of_a_larger_image_are_more_of_them(layout):
    gate, shape = made("cbam", {}, "identity", False), WINDOWS[layout][0]
    gate.layout = Layout(layout, SIZE)
    x = torch.randn(shape, dtype=torch.float64)
    more = torch.cat([x, x.flip(0)], layout.index("G"))
    y = gate(more)
    close(y.narrow(layout.index("G"), 0, 5), gate(x))
