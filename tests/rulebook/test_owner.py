"""Which module holds the attention of a site."""

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import BadPlan, NoSite, Untraceable
from surgeon.rulebook.owner import is_norm
from tests.shared import toy


def owners(model, where, **options):
    return [str(site) for site in surgeon.plan(model, toy.Mark, where=where, example_inputs=toy.image(32), **options)]


def net(block, **parts):
    """A network whose block is `block`; parts are put in place of the network's own."""
    model = toy.Net(block)
    for name, part in parts.items():
        setattr(model, name, part)
    return model


OWNERS = {
    "inside a forward": (toy.Residual(), "residual", ["block: after bn"]),
    "two in one forward": (toy.TwoAdds(), "residual", ["block: after first", "block: after second"]),
    "where the forward can't be rewritten": (toy.ListArgument(), "residual", ["block.gathers.conv: after output"]),
    "used twice": (toy.Shared(), "residual", ["block.block: after bn"]),
    "after a module": (toy.Residual(), "block.conv", ["block.conv: after output"]),
    "after a norm": (toy.Residual(), "block.bn", ["block: after bn"]),
    "the last map": (toy.Residual(), "final", ["down: after output"]),
    "the image": (toy.Residual(), "input", ["stem.0: after input"]),
}


@pytest.mark.parametrize("case", OWNERS)
def test_owners(case):
    block, where, wanted = OWNERS[case]
    assert owners(toy.Net(block), where) == wanted


NORMS = [
    nn.BatchNorm2d(4),
    nn.LayerNorm(4),
    nn.GroupNorm(2, 4),
    nn.InstanceNorm2d(4),
    nn.SyncBatchNorm(4),
    nn.LocalResponseNorm(2),
]


@pytest.mark.parametrize("norm", NORMS)
def test_norms(norm):
    assert is_norm(norm)


@pytest.mark.parametrize("module", [nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Sequential(nn.BatchNorm2d(4)), toy.Residual()])
def test_no_norms(module):
    assert not is_norm(module)


def test_a_norm_never_owns():
    last = nn.Sequential(toy.conv(8, 8, 2), nn.BatchNorm2d(8))
    assert owners(net(toy.Residual(), down=last), "final") == ["down: after output"]


class IsRoot(nn.Module):
    """A network in which the norm is a child of the model itself."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = toy.conv(3, 8, 2), nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.conv(x)).relu().mean((2, 3))


def test_a_value_behind_a_norm_of_the_model_itself_is_owned_before_it():
    assert owners(IsRoot(), "final") == ["conv: after output"]
    with pytest.raises(BadPlan) as caught:
        owners(IsRoot(), "*bn")
    assert str(caught.value) == "bn: can't own attention (a norm of the model itself). Choose what comes after it."


class RunsChildren(nn.Module):
    """A stage that runs all children that it has, as timm's RegNet does."""

    def __init__(self):
        super().__init__()
        self.one, self.two = toy.Residual(), toy.Residual()

    def forward(self, x):
        for child in self.children():
            x = child(x)
        return x


class ByMethod(RunsChildren):
    def forward(self, x):
        return self.run(x)

    def run(self, x):
        for name in self._modules:
            x = self._modules[name](x)
        return x


class Dense(nn.ModuleDict):
    """All items, each on what came before, as torchvision's DenseNet does."""

    def __init__(self):
        super().__init__({"one": toy.conv(8, 8), "two": toy.conv(16, 8)})

    def forward(self, x):
        maps = [x]
        for _, layer in self.items():
            maps.append(layer(torch.cat(maps, 1)))
        return torch.cat(maps, 1)


class Indexed(nn.Sequential):
    def forward(self, x):
        for index in range(len(self)):
            x = self[index](x)
        return x


@pytest.mark.parametrize(
    ("last", "owner"),
    [
        (RunsChildren(), "down.two"),
        (ByMethod(), "down.two"),
        (Dense(), "down"),
        (Indexed(toy.Residual(), toy.Residual()), "down"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_attention_is_never_run_as_one_child_more(last, owner):
    model = net(
        nn.Sequential(toy.conv(8, 8, 2)), down=last, fc=nn.Linear(24 if isinstance(last, Dense) else 8, 4)
    ).eval()
    x = toy.image(32)
    y = model(x)
    surgeon.inject(model, toy.Mark, where="final", example_inputs=x)
    assert torch.equal(model(x), y)
    assert {path: gate.calls for path, gate in surgeon.attention_modules(model).items()} == {f"{owner}.mark": 1}


def test_a_plan_that_names_such_an_owner_is_refused():
    model = toy.Net(RunsChildren())
    plan = surgeon.plan(model, toy.Mark, where="block.two", example_inputs=toy.image(32))
    bad = surgeon.Plan.from_dict(plan.to_dict() | {"sites": [plan.to_dict()["sites"][0] | {"module": "block"}]})
    with pytest.raises(Untraceable, match="^block: its forward runs all its children"):
        surgeon.apply(model, surgeon.Plan(**{**vars(plan), "sites": bad.sites}), example_inputs=toy.image(32))


def test_a_sum_that_only_the_model_makes_has_no_owner():
    with pytest.raises(NoSite) as caught:
        owners(toy.Residual(3), "final")
    assert str(caught.value) == "the map of 3 channels that the model makes belongs to no module of its own."
    assert owners(toy.Residual(3), "residual") == ["the model itself: after bn"]
