"""The Triton kernels, on a GPU or in Triton's interpreter, against plain operators with autograd's own gradients."""

import pytest
import torch
from packaging.version import Version

from surgeon.attention import build
from surgeon.attention.gate import EXACT
from surgeon.attention.passes import choice, eager, scan
from tests.shared.steps import FORMS, SHAPES, ordered, outcome, plain, random, the_same

triton = pytest.importorskip("triton", reason="torch for CPUs alone comes without Triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(
        DEVICE == "cpu" and Version(triton.__version__) < Version("3.6"),
        reason="the interpreter of Triton before 3.6 can't count up to a number that it is given",
    ),
]
ORDERS = ["first", "last", "tokens"]
CASES = [(form, SHAPES[0], order) for form in FORMS for order in ORDERS]
CASES += [(form, shape, order) for form in ("cbam", "bam") for shape in SHAPES[1:] for order in ORDERS[:2]]

# Starts are the business of each gate, precisions and orders that of the kernels.
STARTS = [(name, init, torch.float32, "last") for name in ("cbam", "bam", "se", "eca") for init in EXACT]
STARTS += [("cbam", "eager", dtype, order) for dtype in (torch.float16, torch.bfloat16) for order in ORDERS]
STARTS += [("bam", "eager", torch.bfloat16, "first"), ("cbam", "identity", torch.bfloat16, "first")]


@pytest.fixture(autouse=True)
def always(monkeypatch):
    from surgeon.attention.passes.fused import launch

    monkeypatch.setattr(choice, "DEVICE", DEVICE)
    monkeypatch.setattr(choice, "LEAST", 0)
    # Kept by shape; some tests have tiles of their own.
    kept = (choice._fused, launch._sides)
    for each in kept:
        each.cache_clear()
    yield
    for each in kept:
        each.cache_clear()


def on_device(form, shape, dtype, order="first", seed=1):
    torch.manual_seed(seed)
    gate, x, g = random(*FORMS[form], shape, dtype)
    return gate.to(DEVICE), ordered(x.to(DEVICE), order), g.to(DEVICE)


def test_they_are_chosen():
    from surgeon.attention.passes import fused

    x = torch.randn(2, 4, 3, 3, device=DEVICE)
    assert scan.Scan(x).kernels is fused
    assert scan.Scan(x.long()).kernels is eager
    assert scan.Scan(x, "compiled").kernels is fused


def test_small_maps_and_other_devices_go_by_operators(monkeypatch):
    x = torch.randn(2, 4, 3, 3, device=DEVICE)
    with monkeypatch.context() as patch:
        patch.setattr(choice, "LEAST", x.nbytes + 1)
        assert scan.Scan(x).kernels is eager
    monkeypatch.setattr(choice, "DEVICE", "xpu")
    assert scan.Scan(x).kernels is eager


def test_without_triton_operators_do(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert scan.Scan(torch.randn(2, 4, 3, 3, device=DEVICE)).kernels is eager


def test_where_triton_fails_operators_do(monkeypatch):
    from surgeon.attention.passes import fused

    def fails(*given):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(fused, "pools", fails)
    assert scan.Scan(torch.randn(2, 4, 3, 3, device=DEVICE)).kernels is eager


@pytest.mark.parametrize(("form", "shape", "order"), CASES, ids=lambda value: str(value))
def test_fused_is_plain(form, shape, order, monkeypatch):
    gate, x, g = on_device(form, shape, torch.float64, order)
    the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("init", ["eager", "identity", "neutral"])
@pytest.mark.parametrize("form", ["cbam", "se", "bam", "eca"])
def test_away_from_every_start(form, init, dtype, monkeypatch):
    torch.manual_seed(1)
    gate, x, g = random(*FORMS[form], (3, 16, 12, 10), dtype, init)
    gate, x, g = gate.to(DEVICE), x.to(DEVICE), g.to(DEVICE)
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if dtype == torch.float32 else {}
    the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch), **tolerance)


@pytest.mark.parametrize("order", ORDERS[:2])
@pytest.mark.parametrize("form", ["cbam", "parallel", "se", "bam"])
def test_in_float32_too_and_on_maps_of_many_tiles(form, order, monkeypatch):
    gate, x, g = on_device(form, (2, 72, 13, 21), torch.float32, order)
    the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("least", [1024, 512, 128])
@pytest.mark.parametrize("order", ORDERS[:2])
def test_the_tiles_of_large_maps_too(least, order, monkeypatch):
    from surgeon.attention.passes.fused import launch

    tiles = {
        name: {0: next(these for start, these in by_size.items() if least >= start)}
        for name, by_size in launch.TILES.items()
    }
    monkeypatch.setattr(launch, "TILES", tiles)
    gate, x, g = on_device("cbam", (2, 72, 13, 21), torch.float32, order)
    the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch), rtol=2e-4, atol=2e-4)


# Triton's interpreter cuts the bits off that bfloat16 has no room for.
HALVES = [torch.float16] + [torch.bfloat16] * (DEVICE == "cuda")


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("form", ["cbam", "spatial", "se", "bam"])
def test_half_precision_is_as_near_as_plain_operators(form, dtype, monkeypatch):
    far, near = [], []
    for seed in range(5):
        # Of several: where two numbers are nearly the maximum, the one or the other gets its gradient.
        gate, x, g = on_device(form, (3, 16, 12, 10), dtype, seed=seed)
        got, other = outcome(gate, x, g), plain(gate, x, g, monkeypatch)
        want = plain(gate.double(), x.double(), g.double(), monkeypatch)
        for found, errors in ((got, near), (other, far)):
            errors.append([(found[name].double() - want[name]).abs().max() for name in ("y", "x")])
        assert got["y"].dtype == got["x"].dtype == dtype
    near, far = (torch.tensor(errors).median(0).values for errors in (near, far))
    assert (near <= far * 1.2).all(), (near, far)


@pytest.mark.parametrize(("name", "init", "dtype", "order"), STARTS)
def test_the_bits_at_the_start(name, init, dtype, order):
    torch.manual_seed(1)
    gate = build(name, 16, init=init).to(DEVICE, dtype)
    x = ordered(torch.randn(2, 16, 9, 8, dtype=dtype, device=DEVICE), order).requires_grad_()
    y = gate(x)
    y.backward(g := torch.randn_like(y))
    assert torch.equal(y, x) and torch.equal(x.grad, g)
    with torch.no_grad():
        assert torch.equal(gate.eval()(x), x)


# The interpreter computes with numpy, which warns.
@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_goes_where_plain_operators_let_it(value, monkeypatch):
    gate, x, _ = on_device("cbam", (2, 16, 6, 5), torch.float32)
    x[0, 3, 2, 1] = value
    with torch.no_grad():
        got = gate.eval()(x)
        monkeypatch.setattr(choice, "LEAST", 2**40)
        want = gate(x)
    assert torch.equal(got.isnan(), want.isnan()) and got[0].isnan().any() and not got[1].isnan().any()
    torch.testing.assert_close(got[1], want[1])


def test_a_gradient_of_ones_is_a_map_of_one_number(monkeypatch):
    """`sum().backward()` hands on a gradient whose numbers are all the same one in memory."""
    gate, x, _ = on_device("cbam", (2, 16, 6, 5), torch.float64)
    g = torch.ones(1, dtype=x.dtype, device=DEVICE).expand(x.shape)
    the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch))


# torch compiles its own formulas of forward mode by what it no longer wants.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
@pytest.mark.parametrize("init", ["paper", "identity", "eager"])
@pytest.mark.parametrize("form", ["cbam", "bam"])
def test_second_derivatives_and_forward_mode(form, init):
    torch.manual_seed(1)
    gate, x, _ = random(*FORMS[form], (2, 8, 3, 4), torch.float64, init)
    gate, x = gate.to(DEVICE), x.to(DEVICE)
    assert torch.autograd.gradcheck(gate.eval(), (x.requires_grad_(),), check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(gate.eval(), (x.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("name", ["cbam", "bam", "se"])
def test_the_network_may_go_on_in_place(name):
    gate, x = build(name, 8).to(DEVICE), torch.randn(2, 8, 4, 4, requires_grad=True, device=DEVICE)
    y = gate(x * 1)
    y += x
    y.sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 2))


def test_a_map_in_the_order_of_its_own_keeps_its_numbers(monkeypatch):
    """Its rows and columns can't be counted as one axis."""
    gate, x, g = on_device("cbam", (2, 16, 6, 5), torch.float64)
    x = x.transpose(2, 3).contiguous().transpose(2, 3)
    the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch))


def test_multiples_are_of_all_lengths_that_numbers_are_reached_by():
    from surgeon.attention.passes.fused.launch import multiples

    x = torch.empty(2, 24, 14 * 14)
    last = x.mT.contiguous().mT
    assert multiples(x) == (1, 4)
    assert multiples(last) == (8, 1)
    assert multiples(x, last) == (1, 1)
    assert multiples(torch.empty(2, 24, 7 * 7)) == (1, 1)
    # Every other image, a part of the positions, every other position.
    assert multiples(torch.empty(4, 24, 16, 16)[::2].flatten(2)) == (1, 16)
    assert multiples(x[:, :, :194]) == (1, 2)
    assert multiples(x[:, :, ::2]) == (1, 1)
