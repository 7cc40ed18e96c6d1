"""A fresh gate changes no bit in autocast, around infinities and backwards; copies, switches and recordings of gates."""

import copy
import pickle

import pytest
import torch

from surgeon.attention import TABLE, attention_modules, attention_parameters, build, disabled, record
from surgeon.attention.layouts import Layout
from surgeon.errors import UnknownName
from tests.shared.bits import assert_same_bits
from tests.shared.numbers import awkward

FOREIGN = ["timm:gc", "timm:coord", "timm:cbam", "timm:ceca", "timm:gca", "timm:nl"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [*TABLE, *FOREIGN])
def test_identity_in_autocast(name, dtype):
    gate, x = build(name, 16), awkward((2, 16, 5, 6), dtype)
    with torch.autocast("cpu", dtype=dtype):
        assert_same_bits(gate(x), x)


@pytest.mark.parametrize("name", [*TABLE, *FOREIGN])
def test_identity_around_an_infinity(name):
    x = awkward((2, 16, 5, 6), torch.float32)
    x[0, 3, 2, 2], x[1, 5, 0, 0] = float("inf"), float("-inf")
    assert_same_bits(build(name, 16).eval()(x), x)


@pytest.mark.parametrize("name", TABLE)
def test_channels_last_stays_channels_last(name):
    x = torch.randn(2, 16, 5, 6).to(memory_format=torch.channels_last)
    assert build(name, 16, init="paper").eval()(x).stride() == x.stride()


@pytest.mark.parametrize("name", [*TABLE, *FOREIGN])
def test_gradients_of_the_network_before_it_are_its_own(name):
    x = torch.randn(2, 16, 5, 6, requires_grad=True)
    gate, grad = build(name, 16), torch.randn(2, 16, 5, 6)
    gate(x).backward(grad)
    assert torch.equal(x.grad, grad)
    moved = [key for key, weight in gate.named_parameters() if weight.grad is not None and weight.grad.any()]
    assert moved and all(key.endswith("gamma") for key in moved)


READERS = {"cbam": {"maps": ("mean", "conv")}, "bam": {"branches": "spatial"}}


@pytest.mark.parametrize(
    "ours, theirs", [(torch.channels_last, torch.contiguous_format), (torch.contiguous_format, torch.channels_last)]
)
@pytest.mark.parametrize("name, options", [*((name, {}) for name in (*TABLE, *FOREIGN)), *READERS.items()])
def test_the_gradient_lies_in_memory_as_it_would_without_the_gate(name, options, ours, theirs):
    """In another order it has the same numbers, and the layers before it add them up in another order."""
    x = torch.randn(2, 16, 5, 6, requires_grad=True).clone(memory_format=ours)
    gate, grad, found = build(name, 16, **options), torch.randn(2, 16, 5, 6).to(memory_format=theirs), []
    x.register_hook(found.append)
    gate(x).backward(grad)
    assert torch.equal(found[0], grad) and found[0].stride() == grad.stride()


class Rezero(torch.nn.Module):
    """Starts as the identity by a zero of its own."""

    def __init__(self, channels):
        super().__init__()
        self.conv, self.alpha = torch.nn.Conv2d(channels, channels, 1), torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.alpha * self.conv(x)


@pytest.mark.parametrize("name", ["timm:nl", Rezero])
def test_two_zeros_in_a_row_would_never_learn(name):
    torch.manual_seed(0)
    gate, x = build(name, 16), torch.randn(2, 16, 5, 6)
    assert_same_bits(gate(x), x)
    optimizer = torch.optim.SGD(gate.parameters(), lr=0.1)
    before = [weight.clone() for weight in gate.inner.parameters()]
    for _ in range(3):
        optimizer.zero_grad()
        gate(x).square().mean().backward()
        optimizer.step()
    assert any(not torch.equal(old, new) for old, new in zip(before, gate.inner.parameters()))


@pytest.mark.parametrize("name", [*TABLE, "timm:gc"])
def test_copies_and_pickles(name):
    gate = build(name, 16).eval()
    gate.layout = Layout("NHWC", (5, 6))
    x = torch.randn(2, 5, 6, 16)
    for twin in (copy.deepcopy(gate), pickle.loads(pickle.dumps(gate))):
        assert torch.equal(twin(x), gate(x)) and twin.made == gate.made and twin.layout == gate.layout


@pytest.mark.parametrize("name", [*TABLE, "timm:gc"])
def test_built_on_meta(name):
    with torch.device("meta"):
        gate = build(name, 16)
    assert all(weight.is_meta for weight in gate.state_dict().values())


def network():
    gates = [build("cbam", 8, init="paper"), build("se", 8, init="paper"), build("bam", 8, init="paper")]
    return torch.nn.Sequential(*gates).eval()


def test_disabled_gates_return_the_same_object():
    model, x = network(), torch.randn(2, 8, 4, 4)
    with disabled(model):
        assert model(x) is x
    with disabled(model, "0", "2"):
        assert [gate.enabled for gate in model] == [False, True, False]
    assert all(gate.enabled for gate in model)


def test_disabled_restores_each_switch_after_an_error():
    model = network()
    model[1].enabled = False
    with pytest.raises(KeyError), disabled(model):
        raise KeyError
    assert [gate.enabled for gate in model] == [True, False, True]


def test_disabled_refuses_what_matches_nothing():
    with pytest.raises(UnknownName, match=r"^'layer9\.\*' matches none of the 3 attention modules: 0, 1, 2\.$"):
        with disabled(network(), "layer9.*"):
            pass


def test_the_gates_of_a_network_and_their_weights():
    model = network()
    assert list(attention_modules(model)) == ["0", "1", "2"]
    assert list(attention_parameters(model).items()) == list(model.named_parameters())


def test_a_recording_keeps_the_factors_and_changes_no_output():
    model, x = network(), torch.randn(2, 8, 4, 6)
    want = model(x)
    with record(model) as maps:
        assert torch.equal(model(x), want)
        model(x[:1])
    assert list(maps) == ["0", "1", "2"]
    channel, spatial = maps["0"]["channel"][0], maps["0"]["spatial"][0]
    assert channel.shape == (2, 8, 1, 1) and spatial.shape == (2, 1, 4, 6)
    torch.testing.assert_close(x * channel * spatial, model[0](x))
    assert [len(kept) for kept in maps["2"].values()] == [2, 2] and list(maps["1"]) == ["channel"]
    assert not channel.requires_grad
    model(x)
    assert len(maps["1"]["channel"]) == 2


@pytest.mark.export
def test_a_recording_of_a_compiled_network():
    model, x = network(), torch.randn(2, 8, 4, 6)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with record(model) as kept, torch.no_grad():
        model(x)
    with record(compiled) as maps, torch.no_grad():
        compiled(x)
    got, want = maps["_orig_mod.0"]["spatial"], kept["0"]["spatial"]
    torch.testing.assert_close(got, want)


def test_a_recording_of_bam_gives_the_means_of_its_scale():
    gate, x = network()[2], torch.randn(2, 8, 4, 6)
    with record(gate) as maps:
        scale = gate(x) / x
    torch.testing.assert_close(maps[""]["channel"][0], scale.detach().mean((2, 3), keepdim=True))
    torch.testing.assert_close(maps[""]["spatial"][0], scale.detach().mean(1, keepdim=True))
