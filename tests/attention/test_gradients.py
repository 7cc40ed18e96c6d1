"""Gradients: right, finite in half precision and with large activations, and the same every time."""

import pytest
import torch

from surgeon.attention import build
from surgeon.attention.layouts import Layout
from tests.shared import formulas
from tests.shared.gates import FOREIGN, forms, randomized
from tests.shared.pairs import pairs

# torch compiles its rules for dual numbers, with what it calls deprecated.
warns = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:FutureWarning")
inits = pytest.mark.parametrize("init", ["identity", "paper"])


@inits
@forms
def test_gradcheck(name, options, init):
    torch.manual_seed(1)
    gate = randomized(build(name, 6, init=init, **options)).eval()
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    keys, weights = zip(*gate.named_parameters())
    call = lambda x, *weights: torch.func.functional_call(gate, dict(zip(keys, weights)), (x,))
    assert torch.autograd.gradcheck(call, (x, *weights), fast_mode=True)


@pytest.mark.parametrize("name", ["cbam", "bam"])
def test_gradcheck_with_batch_statistics(name):
    torch.manual_seed(1)
    gate = randomized(build(name, 6)).train()
    x = torch.randn(3, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gate, (x,))


# A published module as timm wrote it sums in float16, and nothing around it can help.
STARTS = [("identity", 1.0), ("identity", 1e4), ("paper", 1.0), ("paper", 1e4)]
HALVES = [torch.float16, torch.bfloat16]
SIZES = [
    (form, start, dtype)
    for form, start, dtype in pairs(formulas.FORMS + FOREIGN, STARTS, HALVES)
    if not (form in FOREIGN and start == ("paper", 1e4))
]


@pytest.mark.parametrize(("form", "start", "dtype"), SIZES, ids=str)
def test_finite_in_autocast(form, start, dtype):
    """The gradient of a scale is a sum over 1024 positions of 1e4 * 2: beyond float16 already."""
    (name, options), (init, size) = form, start
    torch.manual_seed(0)
    gate = build(name, 16, init=init, **options).train()
    x = (torch.rand(2, 16, 32, 32) * size).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        y = gate(x)
    y.backward(torch.full_like(y, 2))
    assert y.dtype == dtype and y.isfinite().all() and x.grad.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in gate.parameters())


@pytest.mark.parametrize(("form", "init", "dtype"), pairs(formulas.NAMES, ["identity", "paper"], HALVES))
def test_a_model_in_half_precision_stays_close_to_itself_in_float32(form, init, dtype):
    name, options = formulas.FORMS[formulas.NAMES.index(form)]
    torch.manual_seed(0)
    gate = randomized(build(name, 16, init=init, **options)).to(dtype).eval()
    x = torch.randn(2, 16, 9, 7).to(dtype)
    y, want = gate(x), gate.float()(x.float())
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), want, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca"])
def test_half_precision_with_large_activations_is_finite(name):
    torch.manual_seed(0)
    gate = build(name, 64, init="paper").half().eval()
    assert gate(torch.full((1, 64, 8, 8), 3e4, dtype=torch.float16)).isfinite().all()


@inits
@forms
def test_deterministic_algorithms(name, options, init):
    gate, x = build(name, 8, init=init, **options), torch.randn(2, 8, 5, 6, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        gate(x).square().sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert x.grad.isfinite().all()


class Saved(torch.nn.Module):
    """Ends in an operator whose backward needs its own result."""

    def __init__(self, channels):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        return (x * self.weight).sigmoid()


@inits
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca", "timm:gc", Saved])
def test_the_network_may_go_on_in_place(name, dtype, init):
    gate, x = build(name, 8, init=init).to(dtype), torch.randn(2, 8, 4, 4, dtype=dtype, requires_grad=True)
    y = gate(x * 1)
    y += x
    y.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.export
@warns
@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca", "timm:gc"])
def test_forward_mode_and_gradients_side_by_side(name):
    """Dual numbers, and vmap over the backward pass of one map."""
    torch.manual_seed(1)
    gate = randomized(build(name, 6)).eval()
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gate, (x,), check_forward_ad=True, check_batched_grad=True)


@pytest.mark.export
@warns
@pytest.mark.parametrize("name", ["cbam", "se", "timm:se"])
def test_forward_mode_in_half_precision(name):
    gate, x = randomized(build(name, 6)).half().eval(), torch.randn(2, 6, 3, 4).half().requires_grad_()
    along = torch.randn_like(x)
    with torch.autograd.forward_ad.dual_level():
        got = torch.autograd.forward_ad.unpack_dual(gate(torch.autograd.forward_ad.make_dual(x, along))).tangent
    _, want = torch.func.jvp(gate.float(), (x.detach().float(),), (along.float(),))
    torch.testing.assert_close(got.float(), want, rtol=2e-2, atol=2e-2)


@pytest.mark.export
@warns
def test_windows_in_forward_mode():
    gate = randomized(build("se", 6)).eval()
    gate.layout = Layout("NCGL", (2, 3))
    x = torch.randn(2, 6, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gate, (x,), check_forward_ad=True, check_batched_grad=True)
