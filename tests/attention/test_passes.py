"""The passes over a map by torch's operators, against plain operators with autograd's own gradients."""

import pytest
import torch

import surgeon
from surgeon.attention import build
from surgeon.attention.passes import factors, scan
from tests.shared.compilers import compiles
from tests.shared.pairs import pairs
from tests.shared.steps import FORMS, SHAPES, ordered, outcome, plain, random, the_same


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


@pytest.mark.parametrize("passes", ["eager", pytest.param("compiled", marks=compiles)])
def test_switched_off_and_recorded(passes):
    gate, x = build("cbam", 8, init="paper").eval(), torch.randn(2, 8, 5, 6)
    gate.passes = passes
    with surgeon.disabled(gate):
        assert gate(x) is x
    with surgeon.record(torch.nn.Sequential(gate)) as maps:
        y = gate(x)
    torch.testing.assert_close(x * maps["0"]["channel"][0] * maps["0"]["spatial"][0], y)
