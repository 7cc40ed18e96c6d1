"""TorchScript: every form traced, saved and loaded, in every precision and mode; a script is refused in one line."""

import io

import pytest
import torch
from torch import nn

from surgeon.attention import build
from surgeon.attention.layouts import Layout
from surgeon.errors import BadModel
from tests.shared.bits import same_bits
from tests.shared.gates import forms, randomized
from tests.shared.numbers import awkward

pytestmark = [
    pytest.mark.export,
    pytest.mark.filterwarnings(
        "ignore:.*torch.jit.* is deprecated:DeprecationWarning", "ignore:.*torch.jit.* is deprecated:FutureWarning"
    ),
]
DTYPES = [torch.float16, torch.bfloat16, torch.float32]


def reloaded(gate, x):
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(gate, x, check_trace=False), file)
    file.seek(0)
    return torch.jit.load(file)


@pytest.mark.parametrize("dtype", DTYPES)
@forms
def test_traced_and_saved(name, options, dtype):
    gate = randomized(build(name, 64, **options)).to(dtype).eval()
    traced = reloaded(gate, torch.randn(2, 64, 5, 4).to(dtype))
    for shape in [(3, 64, 6, 7), (1, 64, 8, 5)]:
        x = torch.randn(shape).to(dtype)
        torch.testing.assert_close(traced(x), gate(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca", "timm:gc"])
def test_a_trace_starts_as_the_identity(name, dtype):
    gate, x = build(name, 16).to(dtype).eval(), awkward((2, 16, 5, 6), dtype)
    assert same_bits(reloaded(gate, torch.randn_like(x))(x), x)


@pytest.mark.parametrize("init", ["identity", "paper"])
@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca", "timm:se", "timm:gc"])
def test_a_trace_passes_the_tracers_own_check(name, init):
    gate, x = build(name, 16, init=init).eval(), torch.randn(2, 16, 5, 6)
    traced = torch.jit.trace(gate, x, check_trace=True)
    torch.testing.assert_close(traced(x), gate(x))


# torch's own batch norm asks for the size of its batch in training.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca", "timm:gc"])
def test_a_trace_that_is_trained(name):
    gate, x = randomized(build(name, 64)).float().train(), torch.randn(4, 64, 5, 4)
    traced = reloaded(gate, torch.randn(2, 64, 6, 7))
    y, want = traced(x), gate(x)
    torch.testing.assert_close(y, want)
    y.square().sum().backward()
    want.square().sum().backward()
    assert all(weight.grad.any() for weight in gate.parameters() if weight.dim() > 1)
    weights = dict(traced.named_parameters())
    for key, weight in gate.named_parameters():
        torch.testing.assert_close(weights[key].grad, weight.grad, rtol=1e-3, atol=1e-3)


def exported(gate, x):
    return torch.export.export(gate, (x,)).module()


# torch's own batch norm asks for the size of its batch in training.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("gamma", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("save", [exported, reloaded])
def test_a_gamma_of_0_opens_in_what_was_saved(save, dtype, gamma):
    """Programs hold operators alone, and no gradient of surgeon's own."""
    torch.manual_seed(0)
    gate, x = build("timm:se", 64).to(dtype).train(), awkward((4, 64, 5, 4), dtype)
    torch.nn.init.constant_(gate.gamma, gamma)
    saved = save(gate, torch.randn_like(x))
    y = saved(x)
    assert gamma or same_bits(y, x)
    torch.testing.assert_close(y, gate(x))
    along = torch.randn_like(x)
    y.backward(along)
    gate(x).backward(along)
    weights = dict(saved.named_parameters())
    assert gate.gamma.grad.any()
    for key, weight in gate.named_parameters():
        torch.testing.assert_close(weights[key].grad, weight.grad, rtol=2e-2, atol=2e-2)


# It is one for windows of this size.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced_on_windows():
    gate, x = build("cbam", 16, init="paper"), torch.randn(2, 16, 3, 30)
    gate.layout = Layout("NCGL", (5, 6))
    conv = nn.Conv2d(16, 16, 1)
    network = nn.Sequential(conv, gate).eval()
    torch.testing.assert_close(reloaded(network, x)(x + 1), network(x + 1))


@pytest.mark.parametrize(("attention", "name"), [("cbam", "CBAM"), ("timm:gc", "GlobalContext")])
def test_a_script_is_refused_in_one_line(attention, name):
    network = nn.Sequential(nn.Conv2d(3, 16, 1), build(attention, 16))
    message = (
        rf"^torch\.jit\.script can't compile attention \({name}\): use torch\.jit\.trace or torch\.export\.export\.$"
    )
    with pytest.raises(BadModel, match=message):
        torch.jit.script(network)
    assert torch.equal(network(torch.ones(1, 3, 4, 4)), network[0](torch.ones(1, 3, 4, 4)))
