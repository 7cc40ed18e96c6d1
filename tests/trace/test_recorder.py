"""What the record of one run says about a network."""

import copy

import pytest
import torch
from torch import nn

from surgeon.trace.recorder import observe, plain_name
from surgeon.trace.skeleton import skeleton
from surgeon.trace.state import in_mode
from tests.shared import toy


def record(model, *args, **kwargs):
    graph, error = observe(skeleton(model, numbers=True), args or (toy.image(),), kwargs)
    assert error is None
    return graph


def graph_of(graph, path):
    return next(inner for inner in graph.walk() if inner.path == path)


def test_every_module_has_its_own_graph():
    graph = record(toy.Net())
    assert [inner.path for inner in graph.walk()] == [
        "",
        "stem",
        "stem.0",
        "stem.1",
        "block",
        "block.conv",
        "block.bn",
        "down",
        "down.0",
        "down.1",
        "fc",
    ]
    assert graph.parent is None and graph_of(graph, "block.bn").parent is graph_of(graph, "block")


def test_steps_of_a_block():
    block = graph_of(record(toy.Net()), "block")
    assert [node.op for node in block.nodes] == ["call", "call", "add", "relu"]
    branch, shortcut = block.nodes[2].inputs
    assert block.makers[branch].child.path == "block.bn" and shortcut in block.inputs


ADDS = {
    "x + y": lambda x, y: x + y,
    "torch.add": torch.add,
    "Tensor.add": lambda x, y: x.add(y),
    "add_": lambda x, y: x.add_(y),
    "+=": lambda x, y: x.__iadd__(y),
    "radd": lambda x, y: x.__radd__(y),
}


class Applies(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x * 1, x * 2)


@pytest.mark.parametrize("spelling", ADDS)
def test_every_spelling_of_add_is_add(spelling):
    node = record(Applies(ADDS[spelling])).nodes[-1]
    assert node.op == "add" and len(node.inputs) == 2
    assert node.in_place == (spelling in ("add_", "+="))


def test_in_place_makes_a_new_value():
    block = graph_of(record(toy.Net(toy.InPlace())), "block")
    add = next(node for node in block.nodes if node.op == "add")
    assert add.in_place and add.outputs[0] not in add.inputs


@pytest.mark.parametrize(("function", "name"), [(torch.Tensor.__iadd__, "add"), (torch.relu_, "relu"), (torch.Tensor.__getitem__, "getitem"), (torch.Tensor.__truediv__, "truediv"), (torch.Tensor.__rsub__, "sub")])  # fmt: skip
def test_plain_name(function, name):
    assert plain_name(function) == name


def test_weights_and_tables_are_fixed():
    block = graph_of(record(toy.Tokens()), "")
    position = next(node for node in block.nodes if node.op == "add")
    assert [value.fixed for value in position.inputs] == [False, True]


def test_cost_counts_layers():
    graph = record(toy.Net(toy.Projected()))
    assert graph_of(graph, "block.conv").cost == (2, 2, 0)
    assert graph_of(graph, "block.bn").cost == (0, 1, 0)
    assert graph_of(graph, "block.downsample").cost == (1, 1, 0)
    assert graph_of(graph, "stem.1").cost == (0, 0, 0)


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = self.weight.reshape(8, -1)
        weight = (weight - weight.mean(1, keepdim=True)).reshape_as(self.weight)
        return nn.functional.conv2d(x, weight, self.bias, padding=1)


def test_a_standardised_weight_is_one_layer():
    assert graph_of(record(toy.Net(Standardised(8, 8, 3))), "block").cost == (1, 1, 0)


def test_arguments_are_those_of_the_call():
    graph = graph_of(record(toy.Net(toy.Calls(toy.Optional(), scale=2.0))), "block.block")
    assert graph.kwargs == {"scale": 2.0} and len(graph.args) == 1


def test_a_list_that_a_forward_empties_is_on_record_as_it_was():
    graph = graph_of(record(toy.Net(toy.ListArgument())), "block.gathers")
    assert len(graph.args[0]) == 2 and len(graph.inputs) == 2


def test_a_run_that_stops_keeps_what_had_finished():
    class Stops(toy.Net):
        def forward(self, x):
            x = self.block(self.stem(x))
            raise ValueError("here")

    graph, error = observe(skeleton(Stops(), numbers=True), (toy.image(),))
    assert str(error) == "here" and not graph.finished
    assert [child.path for child in graph.children if child.finished] == ["stem", "block"]


def test_hooks_do_not_run():
    model, seen = toy.Net(), []
    model.block.register_forward_hook(lambda *args: seen.append(args))
    record(model)
    assert seen == []


@pytest.mark.parametrize("module", [nn.Softmax(1), toy.Residual()], ids=["torch's own", "with children"])
def test_a_module_that_is_made_in_the_forward_is_no_child(module):
    class Makes(nn.Module):
        def forward(self, x):
            return x + copy.copy(module)(x)

    nodes = record(Makes(), torch.zeros(1, 8, 4, 4)).nodes
    assert not any(node.child for node in nodes) and nodes[-1].op == "add"


def test_in_mode_gives_each_flag_back():
    model = toy.FrozenBN().train()
    flags = [module.training for module in model.modules()]
    with pytest.raises(KeyError), in_mode(model, True):
        assert model.block.bn.training
        raise KeyError
    assert [module.training for module in model.modules()] == flags and not model.block.bn.training


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"num_layers": 2, "batch_first": True}], ids=str)
def test_an_lstm_has_the_shapes_of_a_real_run(options):
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 5, **options)

        def forward(self, x):
            output, states = self.lstm(x)
            return output, *states

    model, x = Sequence(), torch.randn(4, 6, 8)
    graph, error = observe(skeleton(model), (x.to("meta"),))
    assert error is None
    assert [value.shape for value in graph.outputs] == [tuple(leaf.shape) for leaf in model(x)]
