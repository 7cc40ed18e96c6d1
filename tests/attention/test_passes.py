"""The passes over a map, eager and compiled, against plain operators with autograd's own gradients."""

import itertools
import shutil

import pytest
import torch

import surgeon
from surgeon import errors
from surgeon.attention import build
from surgeon.attention.passes import loops, scan
from tests.shared import toy

FORMS = {
    "cbam": ("cbam", {}),
    "parallel": ("cbam", {"order": "parallel"}),
    "spatial-first": ("cbam", {"order": "spatial-first"}),
    "channel": ("cbam", {"branches": "channel"}),
    "spatial": ("cbam", {"branches": "spatial"}),
    "conv": ("cbam", {"pools": ("avg", "lse"), "maps": ("mean", "conv")}),
    "se": ("se", {}),
    "eca": ("eca", {}),
}
SHAPES = [(3, 16, 12, 10), (1, 32, 8, 8), (2, 16, 7), (2, 8, 3, 5, 4), (2, 1, 6, 6), (2, 8, 1, 1)]
compiles = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler"
)


def plain(gate, x, g, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(scan, "_is_ours", lambda x: False)
        return outcome(gate, x, g)


def outcome(gate, x, g):
    """What a training step leaves: the map, its gradient, those of the weights, running statistics."""
    torch.manual_seed(0)
    x = x.detach().requires_grad_()
    gate.zero_grad()
    before = {name: tensor.clone() for name, tensor in gate.named_buffers()}
    y = gate(x)
    y.backward(g)
    after = {name: tensor.clone() for name, tensor in gate.named_buffers()}
    for name, tensor in gate.named_buffers():
        tensor.copy_(before[name])
    return {"y": y.detach(), "x": x.grad, **{name: weight.grad for name, weight in gate.named_parameters()}, **after}


def the_same(got, want, **tolerance):
    assert got.keys() == want.keys()
    for name, value in want.items():
        if value is None:
            assert got[name] is None, name
        else:
            torch.testing.assert_close(got[name], value, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def random(name, options, shape, dtype, init="paper"):
    gate = build(name, shape[1], init=init, dims=len(shape) - 2, **options).to(dtype).train()
    for weight in gate.parameters():
        weight.data.normal_(0, 0.5)
    # Many zeros: maxima that several positions and channels share.
    return gate, torch.randn(shape, dtype=dtype).relu(), torch.randn(shape, dtype=dtype)


def ordered(x, order):
    """The same numbers with the channels innermost in memory, as tokens behind a class token, or as they are."""
    if order == "last":
        return x.movedim(1, -1).contiguous().movedim(-1, 1)
    if order == "tokens":
        tokens = x.flatten(2).mT
        padded = torch.cat([tokens[:, :1], tokens], 1)
        return padded[:, 1:].mT.unflatten(2, x.shape[2:])
    return x


@pytest.mark.parametrize("order", ["first", "last", "tokens"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_eager_is_plain(form, shape, order, monkeypatch):
    torch.manual_seed(1)
    gate, x, g = random(*FORMS[form], shape, torch.float64)
    x = ordered(x, order)
    the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", ["cbam", "spatial", "se"])
def test_half_precision_is_as_near_as_plain_operators(form, dtype, monkeypatch):
    torch.manual_seed(1)
    gate, x, g = random(*FORMS[form], (3, 16, 12, 10), dtype)
    got, other = outcome(gate, x, g), plain(gate, x, g, monkeypatch)
    want = plain(gate.double(), x.double(), g.double(), monkeypatch)
    for name in ("y", "x"):
        near, far = ((found[name].double() - want[name]).abs().max() for found in (got, other))
        assert near <= 2 * far, name
        assert got[name].dtype == dtype


@pytest.mark.parametrize("frozen", ["x", "channel", "spatial", "all"])
def test_what_is_frozen_gets_no_gradient_and_changes_no_other(frozen, monkeypatch):
    torch.manual_seed(1)
    gate, x, g = random(*FORMS["cbam"], (3, 16, 6, 5), torch.float64)
    parts = {"channel": gate.channel, "spatial": gate.spatial, "all": gate}
    if frozen in parts:
        parts[frozen].requires_grad_(False)
        the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch))
        return
    gate(x).backward(g)
    got = {name: weight.grad for name, weight in gate.named_parameters()}
    want = plain(gate, x, g, monkeypatch)
    the_same(got, {name: want[name] for name in got})


@pytest.mark.parametrize("branch", ["channel", "spatial"])
def test_a_layer_that_hands_no_gradient_on_does_not_cut_the_map_off(branch, monkeypatch):
    """A quantized layer, say: the map still gets the gradient of the product."""
    torch.manual_seed(1)
    gate, x, g = random(*FORMS["cbam"], (3, 16, 6, 5), torch.float64)
    layer = gate.channel.fc2 if branch == "channel" else gate.spatial.conv
    layer.register_forward_hook(lambda module, given, output: output.detach())
    the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch))


def test_one_of_equals_gets_the_gradient():
    gate = build("cbam", 4, init="paper", reduction=1, branches="channel", pools=("avg", "max"))
    with torch.no_grad():
        for weight in gate.parameters():
            weight.fill_(0.1)
    x = torch.ones(1, 4, 3, 3, requires_grad=True)
    gate(x).sum().backward()
    others = x.grad[:, :, 1:, 1:]
    assert torch.equal(others, others[:, :1, :1, :1].expand_as(others))
    assert (x.grad[:, :, 0, 0] > others[0, 0, 0, 0] + 0.01).all()


def test_backward_twice_and_by_parts_add_up():
    torch.manual_seed(1)
    gate, x, g = random(*FORMS["cbam"], (2, 8, 6, 5), torch.float64)
    gate.eval()
    x.requires_grad_()
    y = gate(x)
    y.backward(g, retain_graph=True)
    once = x.grad.clone()
    y.backward(g)
    torch.testing.assert_close(x.grad, 2 * once)


def test_activations_hold_the_map_alone():
    """The gate keeps its input and small maps, and no other tensor of the map's size."""
    gate, x = build("cbam", 64).train(), torch.randn(2, 64, 16, 16, requires_grad=True)
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t) is None or t, lambda t: t):
        gate(x)
    large = [tensor for tensor in kept.values() if tensor.numel() >= x.numel()]
    assert [tensor.data_ptr() for tensor in large] == [x.data_ptr()]


def test_an_empty_batch_passes():
    gate = build("cbam", 8).eval()
    assert gate(torch.zeros(0, 8, 4, 4)).shape == (0, 8, 4, 4)


COMPILED = [(form, order) for form, order in itertools.product(["cbam", "se"], ["first", "last"])] + [
    ("parallel", "first")
]


@compiles
@pytest.mark.export
@pytest.mark.parametrize(("form", "order"), COMPILED)
@torch._dynamo.config.patch(error_on_recompile=True)
def test_compiled_is_plain_for_all_sizes(form, order, monkeypatch):
    torch.manual_seed(1)
    for shape in [(3, 16, 12, 10), (2, 8, 7, 9), (5, 24, 3, 4), (4, 4, 4, 4)]:
        gate, x, g = random(*FORMS[form], shape, torch.float32)
        x, g = ordered(x, order), ordered(g, order)
        gate.passes = "compiled"
        the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch), rtol=1e-3, atol=1e-4)


@compiles
@pytest.mark.export
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_keeps_the_bits_at_the_start(dtype):
    torch.manual_seed(1)
    for init in ("eager", "identity"):
        gate, x = build("cbam", 16, init=init).to(dtype), torch.randn(2, 16, 9, 8, dtype=dtype, requires_grad=True)
        gate.passes = "compiled"
        y = gate(x)
        y.backward(g := torch.randn_like(y))
        assert torch.equal(y, x) and torch.equal(x.grad, g)
        with torch.no_grad():
            assert torch.equal(gate.eval()(x), x)


@compiles
@pytest.mark.export
def test_compiled_has_second_derivatives():
    torch.manual_seed(1)
    gate, x, _ = random(*FORMS["cbam"], (2, 8, 3, 4), torch.float64)
    gate.passes = "compiled"
    assert torch.autograd.gradgradcheck(gate.eval(), (x.requires_grad_(),), fast_mode=True)


def no_compiler(*given, **options):
    raise RuntimeError("g++ not found\nmany lines")


def test_nothing_to_compile_with_is_told_once_and_the_network_goes_on(monkeypatch):
    monkeypatch.setattr(loops, "_loops", no_compiler)
    model = surgeon.inject(toy.Net(), "cbam")
    with pytest.warns(errors.NotCompiled, match=r"C\+\+ compiler .* and said: g\+\+ not found$"):
        assert surgeon.compile(model) is model
    assert all(gate.passes == "eager" for gate in surgeon.attention_modules(model).values())


def test_a_compiled_network_runs_on_a_machine_without_a_compiler(monkeypatch):
    torch.manual_seed(1)
    gate, x, g = random(*FORMS["cbam"], (3, 16, 6, 5), torch.float32)
    gate.passes = "compiled"
    monkeypatch.setattr(loops, "_loops", no_compiler)
    loops._made.cache_clear()
    try:
        with pytest.warns(errors.NotCompiled, match="not compiled"):
            got = outcome(gate, x, g)
    finally:
        loops._made.cache_clear()
    the_same(got, plain(gate, x, g, monkeypatch), rtol=1e-4, atol=1e-5)


def test_a_network_without_attention_is_refused():
    with pytest.raises(errors.BadModel, match="no attention to compile; inject some first"):
        surgeon.compile(torch.nn.Linear(1, 1))


def test_lengths_that_loops_are_compiled_with_fit_together():
    for dims in (4, 5):
        assert loops._lengths("x", dims)[2:] == loops._lengths("t", dims)[2:]
        assert loops._lengths("x", dims)[:2] == loops._lengths("s", dims)[:2]
    assert loops._lengths("x", 3) == (*loops._lengths("s", 2), loops._lengths("t", 2)[1])


@pytest.mark.parametrize("passes", ["eager", pytest.param("compiled", marks=[compiles, pytest.mark.export])])
def test_switched_off_and_recorded(passes):
    gate, x = build("cbam", 8, init="paper").eval(), torch.randn(2, 8, 5, 6)
    gate.passes = passes
    with surgeon.disabled(gate):
        assert gate(x) is x
    with surgeon.record(torch.nn.Sequential(gate)) as maps:
        y = gate(x)
    torch.testing.assert_close(x * maps["0"]["channel"][0] * maps["0"]["spatial"][0], y)
