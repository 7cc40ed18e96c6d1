"""Every form of every module against its paper's formulas, computed a second way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surgeon.attention import build
from tests.shared import formulas
from tests.shared.gates import randomized


def expected(name, gate, x, options):
    weights = {key: tensor.numpy().copy() for key, tensor in gate.state_dict().items()}
    return torch.from_numpy(getattr(formulas, name)(x.numpy(), weights, gate.training, **options))


@pytest.mark.many
@pytest.mark.parametrize("init", ["identity", "paper"])
@pytest.mark.parametrize(("name", "options"), formulas.FORMS, ids=formulas.NAMES)
@settings(max_examples=12)
@given(
    shape=st.tuples(st.integers(2, 4), st.integers(1, 40), st.integers(1, 9), st.integers(1, 12)),
    training=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_agrees_with_the_formulas(name, options, init, shape, training, seed):
    torch.manual_seed(seed)
    gate = randomized(build(name, shape[1], init=init, **options)).train(training)
    x = torch.randn(shape, dtype=torch.float64)
    want = expected(name, gate, x, options)
    torch.testing.assert_close(gate(x), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize(("name", "options"), formulas.FORMS, ids=formulas.NAMES)
def test_sequences_and_video_are_the_same_code(name, options, dims):
    gate = randomized(build(name, 20, dims=dims, **options)).eval()
    x = torch.randn(2, 20, *(5, 4, 6)[:dims], dtype=torch.float64)
    torch.testing.assert_close(gate(x), expected(name, gate, x, options), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), formulas.FORMS, ids=formulas.NAMES)
def test_no_gate_has_dead_weights(name, options):
    """Below 16 channels the released code's hidden layer is empty, and what it computes a constant."""
    gate = randomized(build(name, 3, **options))
    gate(torch.randn(2, 3, 4, 5, dtype=torch.float64)).sum().backward()
    assert all(weight.numel() and weight.grad is not None for weight in gate.parameters())


def test_a_batch_of_one_image_trains_and_leaves_the_statistics_alone():
    torch.manual_seed(0)
    # Hidden units enough that not all of them are dead for one image.
    gate = randomized(build("bam", 32, form="paper", reduction=2)).train()
    before = gate.channel.bn1.running_mean.clone()
    x = torch.randn(1, 32, 5, 7, dtype=torch.float64)
    y = gate(x)
    y.sum().backward()
    assert torch.equal(gate.channel.bn1.running_mean, before)
    assert gate.channel.bn1.weight.grad.abs().sum() > 0
    # The convolutions of the other branch see 35 positions, which is statistics enough.
    assert gate.spatial.bn1.num_batches_tracked == 1


def test_training_moves_the_statistics_by_the_released_momentum():
    gate = build("cbam", 8).train()
    gate(torch.randn(4, 8, 6, 6) + 3)
    assert gate.spatial.bn.momentum == 0.01 and gate.spatial.bn.running_mean.abs() > 0


def test_the_published_start():
    """Biases at 0, and the spatial branch of CBAM silent: its normalisation starts with a weight of 0."""
    cbam, bam = build("cbam", 32, init="paper"), build("bam", 32, init="paper")
    weights = [*cbam.named_parameters(), *bam.named_parameters()]
    assert not any(weight.any() for key, weight in weights if key.endswith("bias"))
    assert not cbam.spatial.bn.weight.any() and all(bam.channel.bn1.weight == 1)
    assert not any(key.endswith("gamma") for key, _ in weights)


@pytest.mark.parametrize(("name", "factor"), [("cbam", 0.25), ("bam", 1.5), ("se", 0.5), ("eca", 0.5)])
def test_a_fresh_published_module_is_not_neutral(name, factor):
    torch.manual_seed(0)
    gate, x = build(name, 64, init="paper").eval(), torch.randn(8, 64, 14, 14)
    assert (gate(x) / x).mean().item() == pytest.approx(factor, abs=0.06)
