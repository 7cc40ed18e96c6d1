"""The passes over a map, eager and compiled, against plain operators with autograd's own gradients."""

import itertools
import shutil

import pytest
import torch

import surgeon
from surgeon import errors
from surgeon.attention import build
from surgeon.attention.passes import compiled, factors, loops, scan
from tests.shared import toy
from tests.shared.pairs import pairs
from tests.shared.steps import FORMS, SHAPES, ordered, outcome, plain, random, the_same

compiles = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")) or torch.__version__ < "2.7",
    reason="torch.compile needs a C++ compiler; and that of torch 2.6 writes what none compiles (minima of int32)",
)


@pytest.mark.parametrize(("form", "shape", "order"), pairs([*FORMS], SHAPES, ["first", "last", "tokens"]), ids=str)
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


def hessian_times(gate, x, g, along):
    """The derivative of the gradient of the map, and of the weights, along a direction."""
    x = x.detach().requires_grad_()
    inputs = [x, *gate.parameters()]
    grads = torch.autograd.grad((gate(x) * g).sum(), inputs, create_graph=True, allow_unused=True)
    found = torch.autograd.grad((grads[0] * along).sum(), inputs, allow_unused=True)
    return {str(number): value for number, value in enumerate(found)}


@pytest.mark.parametrize("init", ["paper", "identity", "eager"])
@pytest.mark.parametrize("form", FORMS)
def test_second_derivatives_are_plain(form, init, monkeypatch):
    torch.manual_seed(1)
    gate, x, g = random(*FORMS[form], (2, 16, 6, 5), torch.float64, init)
    x, along = torch.randn_like(x), torch.randn_like(x)
    got = hessian_times(gate, x, g, along)
    with monkeypatch.context() as patch:
        for module in (scan, factors):
            patch.setattr(module, "is_ours", lambda x: False)
        want = hessian_times(gate, x, g, along)
    the_same(got, want)
    assert any(value is not None and value.abs().max() > 1e-6 for value in want.values())


@pytest.mark.parametrize("branch", ["channel", "spatial"])
def test_a_loss_on_scores_alone(branch, monkeypatch):
    """Attention that is itself taught where to look: no gradient comes by the product."""
    torch.manual_seed(1)
    gate, x, _ = random(*FORMS["cbam"], (2, 16, 6, 5), torch.float64)
    scores = []
    getattr(gate, branch).register_forward_hook(lambda module, given, output: scores.append(output))

    def gradient():
        taught = x.detach().requires_grad_()
        gate(taught)
        return torch.autograd.grad(scores.pop().square().sum(), taught)[0]

    got = gradient()
    for module in (scan, factors):
        monkeypatch.setattr(module, "is_ours", lambda x: False)
    torch.testing.assert_close(got, gradient())


def test_pools_that_are_read_late_have_their_gradient(monkeypatch):
    torch.manual_seed(1)
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)

    def read(x):
        late = scan.Scan(x)
        return [late.squeeze(None), late.pools(), late.average()]

    assert torch.autograd.gradcheck(lambda x: tuple(read(x)), (x,))


def test_an_empty_batch_passes():
    gate = build("cbam", 8).eval()
    assert gate(torch.zeros(0, 8, 4, 4)).shape == (0, 8, 4, 4)


COMPILED = [(form, order) for form, order in itertools.product(["cbam", "se", "bam"], ["first", "last"])] + [
    ("parallel", "first"),
    ("bam-max", "first"),
]


@compiles
@pytest.mark.export
@pytest.mark.parametrize(("form", "order"), COMPILED)
@torch._dynamo.config.patch(error_on_recompile=True)
def test_compiled_is_plain_for_all_sizes(form, order, monkeypatch):
    torch.manual_seed(1)
    # The last three are reduced in parts: of 8 and of 16 positions, of 8, 16 and 32 channels.
    for shape in [
        (3, 16, 12, 10),
        (2, 8, 7, 9),
        (5, 24, 3, 4),
        (4, 4, 4, 4),
        (2, 32, 5, 8),
        (3, 64, 16, 8),
        (2, 256, 8, 8),
    ]:
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


def forget():
    """Loops are looked for anew, and compiled again only where there are none."""
    loops._made.cache_clear()
    loops._fitting.cache_clear()


def asked(gate):
    """As `surgeon.compile` asks whether anything can be compiled, under the caller's gradients."""
    assert loops.missing(torch.device("cpu")) is None


def in_training(gate):
    gate(torch.randn(3, 16, 6, 5, requires_grad=True)).square().sum().backward()


def before_a_mean(gate):
    """The gradient is one number for each channel, said again at each position."""
    gate(torch.randn(3, 16, 6, 5, requires_grad=True)).mean((2, 3)).square().sum().backward()


def beside_others(gate):
    """The map, and its gradient, are parts of maps that lie side by side."""
    x = torch.randn(3, 24, 6, 5, requires_grad=True)
    torch.cat([gate(x[:, :16]), x], 1).square().sum().backward()


def before_a_sum_beside_others(gate):
    """The gradient is one channel, said again for each, and a part of a wider map."""
    x = torch.randn(3, 16, 6, 5, requires_grad=True)
    torch.cat([gate(x).sum(1, keepdim=True), x], 1).square().sum().backward()


def in_autocast(gate):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = gate(torch.randn(3, 16, 6, 5, requires_grad=True))
    y.square().sum().backward()


def for_second_derivatives(gate):
    x = torch.randn(3, 16, 6, 5, requires_grad=True)
    torch.autograd.grad(gate(x).square().sum(), x, create_graph=True)


def without_gradients(gate):
    with torch.no_grad():
        gate(torch.randn(3, 16, 6, 5))


def in_inference_mode(gate):
    with torch.inference_mode():
        gate(torch.randn(3, 16, 6, 5))


WAYS = [asked, in_training, before_a_mean, beside_others, before_a_sum_beside_others, in_autocast]
WAYS += [for_second_derivatives, without_gradients, in_inference_mode]


@compiles
@pytest.mark.export
@pytest.mark.parametrize("form", ["cbam", "bam"])
@torch._dynamo.config.patch(error_on_recompile=True)
def test_no_loop_is_compiled_twice_whatever_is_around_the_gate(form):
    """Of each kind of arguments one: a second one would take seconds, and after eight torch.compile gives up."""
    gate = build(form, 16, init="paper")
    gate.passes = "compiled"
    forget()
    loops._loops.cache_clear()
    for way in (*WAYS, *reversed(WAYS)):
        way(gate)


def test_on_meta_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(loops, "_loops", no_compiler)
    gate = build("cbam", 8, init="paper").to("meta")
    gate.passes = "compiled"
    assert gate(torch.randn(2, 8, 5, 6, device="meta", requires_grad=True)).shape == (2, 8, 5, 6)


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
    forget()
    try:
        with pytest.warns(errors.NotCompiled, match="not compiled"):
            got = outcome(gate, x, g)
    finally:
        forget()
    the_same(got, plain(gate, x, g, monkeypatch), rtol=1e-4, atol=1e-5)


def test_a_network_without_attention_is_refused():
    with pytest.raises(errors.BadModel, match="no attention to compile; inject some first"):
        surgeon.compile(torch.nn.Linear(1, 1))


def test_lengths_that_loops_are_compiled_with_fit_together():
    for dims in (4, 5):
        assert loops._lengths("x", dims)[2:] == loops._lengths("t", dims)[2:]
        assert loops._lengths("x", dims)[:2] == loops._lengths("s", dims)[:2]
    assert loops._lengths("x", 3) == (*loops._lengths("s", 2), loops._lengths("t", 2)[1])
    for axis, every in compiled.PARTS.items():
        assert not any(loops._lengths("x", 3)[axis] % parts for parts in every)


def test_numbers_that_lie_far_apart_are_reduced_in_parts():
    x = torch.randn(2, 256, 64)
    last = x.mT.contiguous().mT
    assert [compiled._parts(y, axis) for y in (x, last) for axis in (1, 2)] == [32, 1, 1, 16]
    assert [compiled._parts(x[:, :count], 1) for count in (128, 96, 72, 32, 24, 255)] == [32, 16, 8, 8, 1, 1]


@pytest.mark.parametrize("passes", ["eager", pytest.param("compiled", marks=[compiles, pytest.mark.export])])
def test_switched_off_and_recorded(passes):
    gate, x = build("cbam", 8, init="paper").eval(), torch.randn(2, 8, 5, 6)
    gate.passes = passes
    with surgeon.disabled(gate):
        assert gate(x) is x
    with surgeon.record(torch.nn.Sequential(gate)) as maps:
        y = gate(x)
    torch.testing.assert_close(x * maps["0"]["channel"][0] * maps["0"]["spatial"][0], y)
