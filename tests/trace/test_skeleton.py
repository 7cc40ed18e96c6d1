"""Skeletons: the same network without its weights, and nothing that a run of one could do to the other."""

import functools
import gc
import weakref
from collections import OrderedDict, deque, namedtuple

import pytest
import torch
from torch import nn

from surgeon.errors import BadModel
from surgeon.trace.recorder import observe
from surgeon.trace.skeleton import listening, skeleton
from tests.shared import toy


def test_structure_classes_and_settings_are_the_models():
    model = toy.FrozenBN().train()
    twin = skeleton(model)
    assert [(path, type(module)) for path, module in twin.named_modules()] == [
        (path, type(module)) for path, module in model.named_modules()
    ]
    assert list(twin.state_dict()) == list(model.state_dict())
    assert twin.block.bn.eps == model.block.bn.eps and not any(module.training for module in twin.modules())
    assert set(twin.modules()).isdisjoint(model.modules()) and model.training


def test_weights_are_on_meta_and_those_of_the_model_stay():
    model = toy.Net()
    model.down[0].weight = model.block.conv.weight
    before = [(key, id(tensor)) for key, tensor in model.state_dict(keep_vars=True).items()]
    twin = skeleton(model)
    assert all(tensor.is_meta for tensor in twin.state_dict().values()) and isinstance(
        twin.down[0].weight, nn.Parameter
    )
    assert twin.down[0].weight is twin.block.conv.weight
    assert observe(twin, (toy.image().to("meta"),))[0].outputs[0].shape == (2, 4)
    assert [(key, id(tensor)) for key, tensor in model.state_dict(keep_vars=True).items()] == before


def test_with_numbers_weights_are_shared_and_statistics_move_on_copies():
    model = toy.Net().train()
    twin = skeleton(model, numbers=True)
    assert twin.block.conv.weight is model.block.conv.weight
    before = model.block.bn.running_mean.clone()
    twin.train()(toy.image())
    assert not torch.equal(twin.block.bn.running_mean, before) and torch.equal(model.block.bn.running_mean, before)


def test_no_memory_is_used_for_weights():
    model = nn.Linear(1, 1)
    model.hidden = [nn.Parameter(torch.empty(10**6, 10**6, device="meta"))]
    model.table = torch.zeros(2**18)
    assert skeleton(model).hidden[0].is_meta and skeleton(model).table.is_meta


def test_small_tables_keep_their_numbers():
    model = nn.Linear(1, 1)
    model.scale = torch.tensor(3.0)
    twin = skeleton(model)
    twin.scale += 1
    assert float(twin.scale) == 4 and float(model.scale) == 3


class Calls:
    """A listener that lists the classes of what is called."""

    def __init__(self):
        self.names = []

    def called(self, module, args, kwargs):
        self.names.append(type(module).__name__)
        return module._call_impl(*args, **kwargs)


def test_calls_are_heard_and_no_class_is_touched():
    model, calls, call = toy.Net().eval(), Calls(), nn.Module.__call__
    twin = skeleton(model, numbers=True)
    with listening(twin, calls):
        heard = twin(toy.image())
        assert nn.Module.__call__ is call
        assert torch.equal(model(toy.image()), heard)
    assert calls.names[:3] == ["Net", "Sequential", "Conv2d"]
    count = len(calls.names)
    twin(toy.image())
    assert len(calls.names) == count == len(set(model.modules()))


Pair = namedtuple("Pair", "first second")


class Helper:
    """Someone's own object that knows the network, and the objects in its containers."""

    def __init__(self, network):
        self.network = network
        self.seen = []


def helped(model):
    """`model` with something in it that refers to it, in every way that there is."""
    model.bound = model.conv.forward
    model.partial = functools.partial(model.conv.forward)
    model.function = lambda x: model.conv(x)
    model.default = lambda x, conv=model.conv: conv(x)
    model.cached = functools.lru_cache(maxsize=4)(model.conv.forward)
    model.listed, model.pair, model.named = [model.conv], (model.conv, 1), Pair(model.conv, 2)
    model.weights, model.by_module = {"weight": model.conv.weight}, {model.conv: 1}
    model.weak, model.proxy = weakref.ref(model.conv), weakref.proxy(model.conv)
    model.queue, model.ordered = deque([model.conv], maxlen=3), OrderedDict(conv=model.conv)
    model.helper = Helper(model)
    return model


REFERENCES = {
    "bound": lambda m: m.bound.__self__,
    "partial": lambda m: m.partial.func.__self__,
    "function": lambda m: m.function.__closure__[0].cell_contents.conv,
    "default": lambda m: m.default.__defaults__[0],
    "cached": lambda m: m.cached.__wrapped__.__self__,
    "listed": lambda m: m.listed[0],
    "pair": lambda m: m.pair[0],
    "named": lambda m: m.named.first,
    "by_module": lambda m: next(iter(m.by_module)),
    "weak": lambda m: m.weak(),
    "proxy": lambda m: m.proxy.__repr__.__self__,
    "queue": lambda m: m.queue[0],
    "ordered": lambda m: m.ordered["conv"],
    "helper": lambda m: m.helper.network.conv,
}


@pytest.mark.parametrize("way", REFERENCES)
def test_whatever_refers_to_the_model_refers_to_the_skeleton(way):
    model = helped(toy.Residual())
    twin = skeleton(model)
    assert REFERENCES[way](model) is model.conv and REFERENCES[way](twin) is twin.conv
    assert type(getattr(twin, way)) is type(getattr(model, way))


def test_weights_held_elsewhere_are_the_same_weights():
    twin = skeleton(helped(toy.Residual()))
    assert twin.weights["weight"] is twin.conv.weight
    lstm = skeleton(nn.LSTM(3, 4))
    assert lstm._flat_weights[0] is lstm.weight_ih_l0 and lstm._flat_weight_refs[0]() is lstm.weight_ih_l0


def test_what_a_run_collects_is_the_skeletons():
    model, seen, counts = toy.Residual(), [], [0]
    model.helper = Helper(model)
    total = 0

    def hook(module, args, output):
        nonlocal total
        total += 1
        seen.append(output)
        counts[0] += 1

    handle = model.conv.register_forward_hook(hook)
    model.handle = handle
    twin = skeleton(model, numbers=True)
    twin(torch.zeros(1, 8, 4, 4))
    twin.helper.seen.append(1)
    assert (seen, counts, total, model.helper.seen) == ([], [0], 0, [])
    twin.handle.remove()
    assert model.conv._forward_hooks and not twin.conv._forward_hooks
    model(torch.zeros(1, 8, 4, 4))
    assert (len(seen), counts, total) == (1, [1], 1)


def test_a_list_that_a_hook_and_the_network_share_is_shared_by_their_twins():
    model = toy.Residual()
    model.maps = []
    model.conv.register_forward_hook(lambda module, args, output, maps=model.maps: maps.append(output))
    twin = skeleton(model, numbers=True)
    twin(torch.zeros(1, 8, 4, 4))
    assert len(twin.maps) == 1 and model.maps == []


class Closes:
    def __init__(self):
        self.held, self.closed = [], False

    def __del__(self):
        self.held.append("closed")


NOBODYS = {
    "closes": Closes(),
    "dispatched": nn.functional.max_pool2d,
    "function": nn.functional.relu,
    "builtin": open,
    "method": {}.get,
    "class": toy.Residual,
    "generator": torch.Generator(),
}


@pytest.mark.parametrize("value", NOBODYS.values(), ids=NOBODYS)
def test_what_is_nobodys_own_or_acts_when_it_goes_away_is_shared(value):
    model = nn.Linear(1, 1)
    model.value = value
    assert skeleton(model).value is value
    gc.collect()
    assert not isinstance(value, Closes) or value.held == []


def test_a_skeleton_goes_away():
    model = helped(toy.Residual())
    ref = weakref.ref(skeleton(model).conv)
    gc.collect()
    assert ref() is None


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_a_scripted_child_is_copied_whole():
    model = toy.Net(torch.jit.script(toy.Residual()).train())
    twin = skeleton(model)
    assert twin.block.conv.weight.is_meta and not model.block.conv.weight.is_meta
    assert not twin.block.bn.training and model.block.bn.training


class Forbids(nn.Module):
    @property
    def __dict__(self):
        raise RuntimeError("no")


def test_what_can_have_no_twin_is_refused_in_one_line():
    model = nn.Sequential(nn.ReLU())
    model._modules["0"] = Forbids.__new__(Forbids)
    with pytest.raises(BadModel, match="^Sequential can't be looked at: RuntimeError: no$"):
        skeleton(model)
