"""The layers inside a gate are called as layers: whatever is hooked to them, wrapped around them or put in their place acts."""

from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from timm.layers import freeze_batch_norm_2d
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.flop_counter import FlopCounterMode

from surgeon.attention import build
from surgeon.attention.precision import called, channel_last, dtype_of, normalized
from tests.shared import formulas
from tests.shared.gates import randomized

forms = pytest.mark.parametrize(("name", "options"), formulas.FORMS, ids=formulas.NAMES)
KINDS = (nn.Linear, nn.modules.conv._ConvNd)
NORMS = nn.modules.batchnorm._BatchNorm


def trained_form(name, options):
    """A gate in float32 with all of its branches alive, as after some training."""
    return randomized(build(name, 32, **options)).float().train()


def layers(gate, kinds=KINDS):
    return {path: module for path, module in gate.named_modules() if isinstance(module, kinds)}


def replace(gate, path, layer):
    owner, _, name = path.rpartition(".")
    setattr(gate.get_submodule(owner), name, layer)


def steps(gate, count=3):
    """`count` steps of training; every weight of the gate takes part in each."""
    optimizer = torch.optim.SGD(gate.parameters(), lr=0.01)
    for _ in range(count):
        optimizer.zero_grad()
        gate(torch.randn(4, 32, 9, 7)).square().mean().backward()
        assert all(weight.grad is not None for weight in gate.parameters())
        optimizer.step()


def same_after(gate, change):
    """Taking a wrapper off a trained gate changes nothing: what it made of the weights is what acted."""
    x = torch.randn(4, 32, 9, 7)
    want = gate.eval()(x)
    change()
    torch.testing.assert_close(gate(x), want)


@forms
def test_pruned(name, options):
    gate = trained_form(name, options)
    pruned = layers(gate, (*KINDS, NORMS)).values()
    for layer in pruned:
        prune.l1_unstructured(layer, "weight", amount=0.3)
    steps(gate)
    same_after(gate, lambda: [prune.remove(layer, "weight") for layer in pruned])
    assert any(not layer.weight.all() for layer in pruned)


def unparametrized(layer):
    return parametrize.remove_parametrizations(layer, "weight")


WRAPPERS = {
    "weight norm by a hook": (nn.utils.weight_norm, nn.utils.remove_weight_norm),
    "weight norm": (parametrizations.weight_norm, unparametrized),
    "spectral norm by a hook": (nn.utils.spectral_norm, nn.utils.remove_spectral_norm),
    "spectral norm": (parametrizations.spectral_norm, unparametrized),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("wrapper", WRAPPERS)
@forms
def test_weights_that_are_computed_for_each_call(name, options, wrapper):
    gate, (wrap, unwrap) = trained_form(name, options), WRAPPERS[wrapper]
    wrapped = layers(gate).values()
    for layer in wrapped:
        wrap(layer)
    vectors = {
        key: vector for key, vector in gate.named_buffers() if key.endswith(("weight_u", ".0._u")) and len(vector) > 1
    }
    before = {key: vector.clone() for key, vector in vectors.items()}
    steps(gate)
    # Spectral norm moves its vectors in every forward pass of training.
    assert not before or any(not torch.equal(gate.get_buffer(key), vector) for key, vector in before.items())
    same_after(gate, lambda: [unwrap(layer) for layer in wrapped])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*quantize_per_tensor.* are deprecated:UserWarning")
@forms
def test_quantized_dynamically(name, options):
    gate = trained_form(name, options).eval()
    quantized = torch.ao.quantization.quantize_dynamic(gate, {nn.Linear}, dtype=torch.qint8)
    x = torch.randn(4, 32, 9, 7)
    torch.testing.assert_close(quantized(x), gate(x), rtol=0, atol=0.1)
    if layers(gate, nn.Linear):
        assert not layers(quantized, nn.Linear) and not torch.equal(quantized(x), gate(x))


@forms
def test_hooks_see_each_layer_once(name, options):
    """Also where CBAM's MLP has several pools to score: they pass it together."""
    gate = trained_form(name, options)
    seen = []
    for path, layer in layers(gate, (*KINDS, NORMS)).items():
        layer.register_forward_hook(lambda layer, args, y, path=path: seen.append((path, len(args[0]), len(y))))
    gate(torch.randn(5, 32, 9, 7))
    assert sorted(seen) == sorted((path, 5, 5) for path in layers(gate, (*KINDS, NORMS)))


def test_what_a_hook_returns_counts():
    gate, x = build("se", 8, init="paper"), torch.randn(2, 8, 4, 4)
    gate.fc2.register_forward_hook(lambda layer, args, y: torch.full_like(y, float("inf")))
    torch.testing.assert_close(gate(x), x)


class Lora(nn.Module):
    """A linear layer that stays, and beside it a product of low rank that learns."""

    def __init__(self, layer, dtype=torch.float32):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(2, layer.in_features, dtype=dtype) * 0.1)
        self.up = nn.Parameter(torch.randn(layer.out_features, 2, dtype=dtype) * 0.1)

    def forward(self, x):
        return self.layer(x) + F.linear(F.linear(x.to(self.down.dtype), self.down), self.up).to(x.dtype)

    def merged(self):
        self.layer.weight.data += (self.up @ self.down).to(self.layer.weight.dtype)
        return self.layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "options"), [form for form in formulas.FORMS if form[0] in ("cbam", "bam", "se")])
def test_adapters_in_place_of_linear_layers(name, options, dtype):
    gate = trained_form(name, options)
    for path, layer in layers(gate, nn.Linear).items():
        replace(gate, path, Lora(layer, dtype))
    adapters = layers(gate, Lora)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gate(torch.randn(4, 32, 9, 7)).square().mean().backward()
    assert all(adapter.up.grad.any() and adapter.down.grad.any() for adapter in adapters.values())
    x = torch.randn(4, 32, 9, 7)
    want = gate.eval()(x)
    for path, adapter in adapters.items():
        replace(gate, path, adapter.merged())
    near = 1e-4 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(gate(x), want, rtol=near, atol=near)


def test_flops_are_counted_layer_by_layer():
    gate = build("cbam", 64)
    with FlopCounterMode(display=False) as counter:
        gate(torch.randn(2, 64, 8, 8))
    counts = {path: sum(flops.values()) for path, flops in counter.get_flop_counts().items()}
    # Two pools of two images, 64 x 4 weights, a multiplication and an addition each.
    assert counts["CBAM.channel.fc1"] == counts["CBAM.channel.fc2"] == 2 * 2 * 64 * 4 * 2
    assert counts["CBAM.spatial.conv"] == 2 * 64 * 98 * 2


@pytest.fixture
def alone():
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not hasattr(torch.cpu.Stream, "record_event"), reason="this torch shards on GPUs only")
# Linear layers over tokens return views, whatever network they are in.
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .FSDPLinear. returned a view tensor:UserWarning")
@pytest.mark.parametrize("each", [False, True], ids=["whole", "layer by layer"])
@forms
def test_sharded_with_weights_in_bfloat16(name, options, each, alone):
    gate, x = trained_form(name, options), torch.randn(4, 32, 9, 7)
    want = gate(x).detach()
    # A batch norm with weights of bfloat16 and statistics of float32 is refused by torch itself, so not those one by one.
    for module in [*layers(gate).values(), gate] if each else [gate]:
        fully_shard(module, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    y = gate(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), want, rtol=0.05, atol=0.05)
    y.float().square().mean().backward()
    assert all(weight.grad is not None for weight in gate.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_a_norm_with_weights_and_statistics_of_two_dtypes(training):
    norm, x = nn.BatchNorm2d(8).train(training), torch.randn(4, 8, 5, 5)
    twin = nn.BatchNorm2d(8).train(training)
    norm.weight.data, norm.bias.data = norm.weight.data.bfloat16(), norm.bias.data.bfloat16()
    assert torch.equal(normalized(norm, x), twin(x))
    assert all(map(torch.equal, norm.buffers(), twin.buffers())) and norm.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(4, 1, 5, 6), (4, 1, 7), (2, 1, 3, 4, 5)])
def test_one_channel_comes_last_without_a_copy(shape):
    x = torch.randn(shape)
    view = channel_last(x)
    assert torch.equal(view, x) and view.stride(1) == 1 and view.data_ptr() == x.data_ptr()
    assert channel_last(view) is view
    assert channel_last(many := torch.randn(4, 2, 5, 6)) is many


def test_the_norms_of_bam_are_frozen_with_the_network():
    network = nn.Sequential(nn.Conv2d(3, 32, 1), nn.BatchNorm2d(32), trained_form("bam", {"form": "paper"}))
    network, x = freeze_batch_norm_2d(network).train(), torch.randn(4, 3, 9, 7)
    assert not layers(network, NORMS)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    network(x).sum().backward()
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("of", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_layer_works_in_its_own_precision(dtype, of):
    layer, seen = nn.Linear(8, 4).to(of), []
    layer.register_forward_hook(lambda layer, args, y: seen.append((args[0].dtype, y.dtype)))
    y = called(layer, torch.full((2, 8), torch.finfo(dtype).max, dtype=dtype))
    assert seen == [(of, of)] and y.dtype == torch.promote_types(dtype, torch.float32) and not y.isnan().any()


def test_an_overflow_in_float16_is_the_largest_number():
    layer = nn.Linear(4, 2, bias=False).half()
    layer.weight.data = torch.tensor([[2.0] * 4, [-2.0] * 4]).half()
    x = torch.full((1, 4), 6e4, requires_grad=True)
    assert called(layer, x).tolist() == [[65504, -65504]]
    assert called(layer, x * 10).tolist() == [[65504, -65504]]


def test_a_layer_without_weights_gets_float32():
    assert dtype_of(nn.Identity(), torch.zeros(1, dtype=torch.float16)) == torch.float32
    stored = nn.Linear(4, 4, bias=False)
    stored.weight = nn.Parameter(torch.zeros(4, 4, dtype=torch.float8_e4m3fn), requires_grad=False)
    assert dtype_of(stored, torch.zeros(1)) == torch.float32


def test_a_replica_of_data_parallel_has_no_parameters():
    layer = nn.Linear(4, 4).half()
    replica = layer._replicate_for_data_parallel()
    for name, weight in layer.named_parameters():
        setattr(replica, name, weight * 1)
    assert not [*chain(replica.parameters(), replica.buffers())]
    assert dtype_of(replica, torch.zeros(1)) == torch.float16
