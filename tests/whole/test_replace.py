"""Attention in the place of a network's own gates: `replace=True`."""

import copy
import io
import json
import warnings

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import BadOption, BadPlan, NoSite
from tests.shared import toy


class Squeeze(nn.Module):
    """Squeeze-and-excitation, by its paper."""

    def __init__(self, channels=8):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def scores(self, x):
        return self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()

    def forward(self, x):
        return x * self.scores(x)


class Expanded(Squeeze):
    """The scores are repeated first, as ECA's code does it."""

    def forward(self, x):
        return x * self.scores(x).expand_as(x)


class InPlace(Squeeze):
    """The map itself is changed."""

    def forward(self, x):
        return x.mul_(self.scores(x))


class OfPixels(nn.Module):
    """A score for each pixel."""

    def __init__(self, channels=8):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.conv(x.amax(1, keepdim=True)).sigmoid() * x


class Both(nn.Sequential):
    """A gate of two gates, as CBAM is written."""

    def __init__(self):
        super().__init__(Squeeze(), OfPixels())


class OfSides(nn.Module):
    """Scores of rows and of columns, both made of the map that comes in: coordinate attention."""

    def __init__(self):
        super().__init__()
        self.rows, self.columns = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        rows, columns = self.rows(x.mean(3, keepdim=True)).sigmoid(), self.columns(x.mean(2, keepdim=True)).sigmoid()
        return x * rows * columns


class Tokens(nn.Module):
    """Squeeze-and-excitation on a map with its channels last."""

    def __init__(self):
        super().__init__()
        self.gate = LastChannel()

    def forward(self, x):
        return self.gate(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LastChannel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return x * self.fc(x.mean((1, 2), keepdim=True)).sigmoid()


class Unit(nn.Module):
    """A gated unit multiplies two whole maps."""

    def __init__(self):
        super().__init__()
        self.conv = toy.conv(8, 8)

    def forward(self, x):
        return x * self.conv(x).sigmoid()


class Scale(nn.Module):
    """Weights, not scores."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x):
        return x * self.weight


class Swish(nn.Module):
    """Nothing is learned on the way to the factor."""

    def forward(self, x):
        return x * x.mean((2, 3), keepdim=True).sigmoid()


class OfAnother(Squeeze):
    """Scores made of the map before last."""

    def forward(self, x):
        return x.relu() * self.scores(x)


GATES = {"a channel": Squeeze, "expanded": Expanded, "a pixel": OfPixels, "both": Both, "sides": OfSides}
NO_GATES = {"a unit": Unit, "a scale": Scale, "nothing learned": Swish, "of another map": OfAnother}


def network(gate=Squeeze):
    """A convolution, a gate and another convolution in a residual block."""
    torch.manual_seed(0)
    return toy.Net(nn.Sequential(toy.conv(8, 8), gate(), toy.Residual())).eval()


@pytest.mark.parametrize("case", GATES)
def test_gates_are_found_by_what_they_do(case):
    (site,) = surgeon.plan(network(GATES[case]), "cbam", where="gate", replace=True)
    assert (site.module, site.after, site.place, site.channels) == ("block.1", "instead", "instead", 8)
    assert str(site) == "block.1: instead of it"


def test_a_gate_with_channels_last():
    (site,) = surgeon.plan(network(Tokens), "cbam", where="gate", replace=True)
    assert (site.module, site.layout) == ("block.1.gate", "NHWC")


@pytest.mark.parametrize("case", NO_GATES)
def test_what_only_looks_like_a_gate(case):
    with pytest.raises(NoSite, match="'gate' found no place"):
        surgeon.plan(network(NO_GATES[case]), "cbam", where="gate")


@pytest.mark.parametrize("attention", ["cbam", "bam", "se", "eca", nn.Conv2d])
@pytest.mark.parametrize("gate", [Squeeze, Both, Tokens])
def test_it_starts_as_the_old_gate_and_learns(gate, attention):
    model, x = network(gate), toy.image()
    options = {"out_channels": 8, "kernel_size": 1} if attention is nn.Conv2d else {}
    before, keys = model(x), list(model.state_dict())
    surgeon.inject(model, attention, where="gate", replace=True, check="output", **options)
    assert torch.equal(model(x), before)
    (added,) = surgeon.attention_modules(model).values()
    model.train()(x).square().sum().backward()
    assert added.share.grad.abs() > 0 and all(weight.grad is not None for weight in model.block.parameters())
    # The batch norms of the network have seen a batch.
    before = surgeon.remove(copy.deepcopy(model)).eval()(x)
    with torch.no_grad():
        added.share.fill_(0.5)
    assert not torch.equal(model.eval()(x), before)
    with surgeon.disabled(model):
        assert torch.equal(model(x), before)
    assert list(surgeon.remove(model).state_dict()) == keys and torch.equal(model(x), before)


def test_all_of_the_way_over_it_is_the_published_module():
    model, at_once, x = network(), network(), toy.image()
    surgeon.inject(model, "cbam", where="gate", replace=True)
    surgeon.inject(at_once, "cbam", where="gate", replace=True, init="paper")
    (slow,), (fast,) = (surgeon.attention_modules(net).values() for net in (model, at_once))
    fast.load_state_dict(slow.state_dict(), strict=False)
    with torch.no_grad():
        slow.share.fill_(1.0)
    assert fast.share is None and "share" not in fast.state_dict()
    torch.testing.assert_close(model(x), at_once(x))


def test_at_once_the_old_gate_does_not_run():
    class Counted(Squeeze):
        calls = 0

        def scores(self, x):
            self.calls += 1
            return super().scores(x)

    model = network(Counted)
    surgeon.inject(model, "se", where="gate", replace=True, init="paper")
    model.block[1].calls = 0
    model(toy.image())
    assert model.block[1].calls == 0
    with surgeon.disabled(model):
        model(toy.image())
    assert model.block[1].calls == 1


def test_modules_are_replaced_by_path_and_by_class():
    by_path = surgeon.plan(network(), "se", where="block.1", replace=True)
    by_class = surgeon.plan(network(), "se", where=Squeeze, replace=True)
    assert by_path == by_class == surgeon.plan(network(), "se", where="gate", replace=True)


def test_attention_goes_behind_a_gate_as_well():
    model, x = network(), toy.image()
    before = model(x)
    surgeon.inject(model, "eca", where="gate")
    assert list(surgeon.attention_modules(model)) == ["block.1.eca"] and torch.equal(model(x), before)


def test_a_copy_a_pickle_and_a_plan_in_text():
    model, x = network(), toy.image()
    plan = surgeon.Plan.from_dict(
        json.loads(json.dumps(surgeon.plan(model, "se", where="gate", replace=True).to_dict()))
    )
    surgeon.apply(model, plan)
    with torch.no_grad():
        model.block[1].se.share.fill_(0.3)
    y = model(x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(copy.deepcopy(model)(x), y) and torch.equal(torch.load(file, weights_only=False)(x), y)
    assert torch.equal(torch.fx.symbolic_trace(model)(x), y)
    with warnings.catch_warnings():
        # Newer releases announce its end.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        assert torch.equal(torch.jit.trace(model, x)(x), y)


REFUSED = {
    "a place of no modules": (BadPlan, {"where": "residual"}, "replace=True: 'residual' is no place of modules that attention could replace. Say where='gate', or which modules: by path, by class."),
    "another shape": (BadPlan, {"where": "down"}, "down: attention can't take its place: it does not make one map of another of the same shape."),
    "no attention to start with": (BadOption, {"where": "gate", "init": "neutral"}, "init='neutral' starts as no attention at all, and not as what it replaces: give 'identity'."),
    "twice": (BadPlan, {"where": "block.1", "twice": True}, "block.1: instead of it: already has attention (block.1.se). Take it out with surgeon.remove(model), or choose other sites."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    error, arguments, line = REFUSED[case]
    model = network()
    if arguments.pop("twice", False):
        surgeon.inject(model, "se", where="gate", replace=True)
    with pytest.raises(error) as caught:
        surgeon.plan(model, "se", replace=True, **arguments)
    assert str(caught.value).endswith(line)


def test_a_gate_that_changes_its_map_is_refused():
    with pytest.raises(BadPlan, match="block.1: changes the map that it is given, which attention in its place needs."):
        surgeon.plan(network(InPlace), "se", where="block.1", replace=True)
