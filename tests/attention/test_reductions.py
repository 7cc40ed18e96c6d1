"""Mean and maximum at once: torch's own values and gradients, on maps in any order in memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surgeon.attention import build
from surgeon.attention.passes import eager
from surgeon.attention.passes.maxima import first_maxima
from surgeon.attention.passes.plain import mean_and_max


def gradient(x, dims, pair):
    mean, most = pair
    torch.manual_seed(1)
    return torch.autograd.grad((mean * torch.randn_like(mean) + most * torch.randn_like(most)).sum(), x)[0]


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 6), min_size=3, max_size=5),
    over_channels=st.booleans(),
    order=st.randoms(use_true_random=False),
    strided=st.booleans(),
)
def test_values_and_gradients_are_torchs_own(shape, over_channels, order, strided):
    dims = (1,) if over_channels else tuple(range(2, len(shape)))
    axes = list(range(len(shape)))
    order.shuffle(axes)
    x = torch.randn([shape[axis] for axis in axes], dtype=torch.float64).permute(
        *[axes.index(i) for i in range(len(axes))]
    )
    x = (torch.cat([x, x], -1)[..., ::2] if strided else x).requires_grad_()
    pair, want = mean_and_max(x, dims), (x.mean(dims, keepdim=True), x.amax(dims, keepdim=True))
    assert all(map(torch.equal, pair, want))
    if len({*x.flatten().tolist()}) == x.numel():
        torch.testing.assert_close(gradient(x, dims, pair), gradient(x, dims, want))


def test_the_first_of_equals_takes_the_gradient():
    x = torch.tensor([[[3.0, 1.0, 3.0, 3.0]]], requires_grad=True)
    mean_and_max(x, (2,))[1].sum().backward()
    assert x.grad.tolist() == [[[1, 0, 0, 0]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_reduced_in_float32(dtype):
    x = torch.full((1, 1, 300, 300), 7.0, dtype=dtype, requires_grad=True)
    mean, most = mean_and_max(x, (2, 3))
    assert mean.dtype == most.dtype == torch.float32 and mean.item() == most.item() == 7
    (mean + most).sum().backward()
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=["first", "last"])
def test_means_of_channels_in_half_precision_are_those_of_float32(dtype, order):
    torch.manual_seed(0)
    x = (1000 + torch.randn(2, 5, 60, 70)).to(dtype).contiguous(memory_format=order)
    torch.testing.assert_close(eager.average(x), x.float().mean((2, 3)), rtol=1e-6, atol=0)
    x[0, 0, 3, 4], x[0, 1, 3, 4], x[1, :2, 3, 4] = torch.inf, torch.nan, -torch.inf
    found = eager.average(x)
    torch.testing.assert_close(found, x.float().mean((2, 3)), rtol=1e-6, atol=0, equal_nan=True)
    assert found.isfinite().sum() == 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(2, 3, 784), (2, 784, 3), (1, 400, 96), (2, 4, 400), (3, 7, 49), (2, 5, 1)], ids=str)
@pytest.mark.parametrize("order", ["first", "last", "sliced"])
def test_maxima_and_their_places_are_those_of_torch(dtype, shape, order):
    torch.manual_seed(0)
    # Few different numbers: many places are at the maximum, and the first of them counts.
    x = torch.randint(-3, 3, shape).to(dtype)
    x[0, 0], x[0, :, 0] = torch.nan, -torch.inf
    x = {"first": x, "last": x.mT.contiguous().mT, "sliced": torch.cat([x, x], 2)[..., : shape[2]]}[order]
    for dim in (1, 2):
        for found, want in zip(first_maxima(x, dim), x.max(dim), strict=True):
            torch.testing.assert_close(found, want, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["cbam", "bam", "timm:coord"])
def test_second_derivatives(name):
    torch.manual_seed(0)
    gate = build(name, 8).double().eval()
    with torch.no_grad():
        for weight in gate.parameters():
            weight.copy_(torch.randn_like(weight) * 0.5)
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(gate, (x,), fast_mode=True)


@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca", "timm:coord"])
def test_gradients_of_all_images_at_once(name):
    gate, x = build(name, 8).eval(), torch.randn(3, 8, 4, 5)
    weights = {key: weight.detach() for key, weight in gate.named_parameters()}
    loss = lambda weights, image: torch.func.functional_call(gate, weights, (image[None],)).square().sum()
    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    for key in weights:
        alone = torch.stack([torch.func.grad(loss)(weights, image)[key] for image in x])
        torch.testing.assert_close(together[key], alone)
