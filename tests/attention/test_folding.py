"""A folded gate computes what its origin does, in every form, from every start; those that do nothing are told apart."""

import pytest
import torch
from torch import nn

from surgeon.attention import Foreign, build
from surgeon.attention.folding import folded
from surgeon.errors import BadModel, FoldedAttention
from tests.shared import formulas
from tests.shared.gates import CHANNELS, forms, randomized
from tests.shared.toy import Mark

INITS = ["eager", "identity", "neutral", "paper"]
NUMBERS = {"gain": 2, "slope": 10}


def trained(name, *, dims=2, **options):
    """A gate in float64 with every weight away from its start, but for what no training moves."""
    torch.manual_seed(0)
    gate = randomized(build(name, CHANNELS, dims=dims, **options)).eval()
    for key, tensor in gate.named_buffers():
        tensor.fill_(NUMBERS.get(key.rpartition(".")[2], 0)) if key.endswith((*NUMBERS,)) else None
    return gate


def alike(gate, twin, dims=2):
    x = torch.randn(2, CHANNELS, *(6, 5, 4)[:dims], dtype=torch.float64)
    given = (x,) if gate.share is None else (x, torch.randn_like(x))
    with torch.no_grad():
        torch.testing.assert_close(twin(*given), gate(*given), rtol=1e-9, atol=1e-9)


def has_norm(gate):
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in gate.modules())


@forms
@pytest.mark.parametrize("init", INITS)
def test_every_form_from_every_start(name, options, init):
    gate = trained(name, **options | {"init": init})
    twin = folded(gate)
    alike(gate, twin)
    assert not has_norm(twin) or isinstance(twin, Foreign)
    assert not any(key.endswith("slope") for key in twin.state_dict())
    assert [*twin.state_dict()] == [*build(twin.made["attention"], CHANNELS, init=twin.made["init"],
                                           **twin.made["options"]).state_dict()]  # fmt: skip


@pytest.mark.parametrize("name", ["cbam", "bam"])
@pytest.mark.parametrize("init", ["eager", "identity", "paper"])
def test_in_the_place_of_a_module(name, init):
    gate = trained(name, init=init, instead=True)
    twin = folded(gate)
    alike(gate, twin)
    assert not has_norm(twin)
    if gate.share is not None:
        nn.init.ones_(gate.share)
        assert folded(gate).share is None and folded(gate).replaces_at_once
        nn.init.zeros_(gate.share)
        assert folded(gate) is None


@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca"])
@pytest.mark.parametrize("dims", [1, 3])
def test_on_signals_and_videos(name, dims):
    gate = trained(name, dims=dims, init="eager")
    alike(gate, folded(gate), dims)


@pytest.mark.parametrize(("name", "options"), formulas.FORMS, ids=formulas.NAMES)
@pytest.mark.parametrize("init", INITS)
def test_a_fresh_gate_is_left_out_where_it_starts_exactly(name, options, init):
    gate = build(name, CHANNELS, **options | {"init": init}).eval()
    assert (folded(gate) is None) == (init != "paper")


def test_foreign_modules_stay_as_they_are():
    class Half(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.weight = nn.Parameter(torch.full((channels, 1, 1), 0.5, dtype=torch.float64))

        def forward(self, x):
            return x * self.weight

    gate = build(Half, CHANNELS).eval()
    assert folded(gate) is None
    nn.init.constant_(gate.gamma, 0.5)
    assert folded(gate) is gate
    nn.init.ones_(gate.gamma)
    twin = folded(gate)
    assert twin.inner is gate.inner and twin.gamma is None and not twin.folded
    alike(gate, twin)
    assert folded(twin) is twin


def test_what_is_left_of_cbam_where_one_branch_does_nothing():
    gate = trained("cbam", init="identity")
    nn.init.zeros_(gate.channel.gamma)
    twin = folded(gate)
    assert twin.channel is None and twin.made["options"]["branches"] == "spatial"
    alike(gate, twin)
    frozen = trained("cbam", init="eager")
    for weight in frozen.spatial.bn.parameters():
        nn.init.zeros_(weight)
    assert folded(frozen).made["options"] == {"norm": False, "conv_bias": True, "branches": "channel"}
    alike(frozen, folded(frozen))


def test_an_open_gate_is_the_published_one():
    for init, numbers in (("identity", "gamma"), ("eager", "gain")):
        gate = trained("cbam", init=init)
        for key, value in gate.state_dict().items():
            if key.endswith(numbers):
                value.fill_(1)
        twin = folded(gate)
        assert twin.made["init"] == "paper" and not any(key.endswith(numbers) for key in twin.state_dict())
        alike(gate, twin)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_of_the_same_kind(dtype):
    gate = trained("cbam").to(dtype).to(memory_format=torch.channels_last)
    twin = folded(gate)
    assert {value.dtype for value in twin.state_dict().values()} == {dtype}
    assert twin.spatial.conv.weight.stride() == gate.spatial.conv.weight.stride()
    assert folded(twin) is twin


def test_norms_that_were_frozen_or_synchronised():
    for frozen in (nn.SyncBatchNorm.convert_sync_batchnorm, _with_frozen):
        gate = trained("bam")
        alike(gate, folded(frozen(trained("bam"))))


def _with_frozen(gate):
    from torchvision.ops import FrozenBatchNorm2d

    for branch in (gate.channel, gate.spatial):
        for name, norm in [*branch.named_children()]:
            if name.startswith("bn"):
                new = FrozenBatchNorm2d(norm.num_features, norm.eps).double()
                new.load_state_dict({key: norm.state_dict()[key] for key in new.state_dict()})
                setattr(branch, name, new)
    return gate


class Another(nn.Linear):
    """An adapter of somebody's."""


def replace_layer(gate):
    gate.channel.fc1 = Another(CHANNELS, 4)


REFUSED = {
    "another layer": (replace_layer, "its channel.fc1 is a Another, and is not what was built"),
    "a hook": (lambda gate: gate.channel.fc1.register_forward_hook(lambda *_: None), "its channel.fc1 has a hook"),
    "a hook of its own": (lambda gate: gate.register_forward_hook(lambda *_: None), "its forward has a hook"),
    "a norm of parametrization": (lambda gate: nn.utils.parametrizations.weight_norm(gate.channel.fc1), "channel.fc1"),
    "a layer more": (lambda gate: setattr(gate.channel, "drop", nn.Dropout()), "it holds channel.drop"),
    "another epsilon": (lambda gate: setattr(gate.spatial.conv, "padding_mode", "reflect"), "something else"),
    "no statistics": (lambda gate: setattr(gate.spatial.bn, "running_mean", None), "its spatial.bn"),
    "meta": (lambda gate: gate.to("meta"), "its weights are elsewhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_lost_is_refused(case):
    change, told = REFUSED[case]
    gate = trained("cbam")
    change(gate)
    with pytest.raises(BadModel, match=told):
        folded(gate)


def test_a_gate_of_somebody_elses_stays():
    gate = build(Mark, 4).eval()
    assert folded(gate) is gate


def test_training_mode_is_told():
    twin = folded(trained("cbam"))
    with pytest.warns(FoldedAttention, match="train the network as it was before surgeon.fold"):
        twin.train()
    assert twin.eval() is twin
