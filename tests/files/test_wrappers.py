"""Networks as training tools leave them: the file is that of the network inside, or the refusal says what to pass."""

import functools
from types import MethodType

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

import surgeon
from surgeon.errors import BadModel
from surgeon.files.label import read_label
from tests.shared.bits import assert_same_bits
from tests.shared.small import output, stir, tiny

pytestmark = pytest.mark.network


@pytest.fixture
def one_process():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def averaged(model):
    average = AveragedModel(model)
    average.update_parameters(model)
    return average


def compiled_in_place(model):
    model.compile()
    model.layer1.compile()
    return model


def with_a_wrapped_forward(model):
    """As accelerate does it for mixed precision."""
    original = model.forward

    @functools.wraps(original)
    def forward(*args, **kwargs):
        with torch.autocast("cpu", torch.bfloat16):
            return original(*args, **kwargs).float()

    model._original_forward, model.forward = original, forward
    return model


def with_its_own_forward(model):
    """As accelerate leaves it when it has unwrapped it."""
    model.forward = MethodType(type(model).forward, model)
    return model


WRAPPED = {
    "DDP": DistributedDataParallel,
    "DataParallel": nn.DataParallel,
    "torch.compile": torch.compile,
    "an average": averaged,
    "compiled in place": compiled_in_place,
    "a wrapped forward": with_a_wrapped_forward,
    "its own forward": with_its_own_forward,
    "DDP of torch.compile of a wrapped forward": lambda model: DistributedDataParallel(
        torch.compile(with_a_wrapped_forward(model))
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.usefixtures("one_process")
def test_the_file_is_that_of_the_network_inside(name, tmp_path):
    model = stir(tiny())
    surgeon.save(model, tmp_path / "plain.safetensors")
    expected = output(model)
    wrapped = WRAPPED[name](model)
    held = {path: dict(vars(module)) for path, module in wrapped.named_modules()}
    surgeon.save(wrapped, tmp_path / "wrapped.safetensors")
    assert held == {path: dict(vars(module)) for path, module in wrapped.named_modules()}
    # Its metadata names every tensor with its SHA-256.
    assert read_label(tmp_path / "wrapped.safetensors") == read_label(tmp_path / "plain.safetensors")
    again = surgeon.load(tmp_path / "wrapped.safetensors")
    assert torch.equal(output(again), expected)
    assert_same_bits(again, surgeon.load(tmp_path / "plain.safetensors"))


class Trainer(nn.Module):
    """A network beside a loss, as a LightningModule has it."""

    def __init__(self, net, name="net"):
        super().__init__()
        self.loss = nn.CrossEntropyLoss(weight=torch.ones(10))
        setattr(self, name, net)

    def forward(self, x):
        return self.loss(self.net(x), torch.zeros(len(x), dtype=torch.long))


REFUSED = {
    "what holds it": (Trainer, r"^Trainer holds the network, and is none of a library's itself: surgeon.save\(model.net, ...\).$"),
    "what holds what holds it": (lambda model: Trainer(nn.Sequential(model, nn.ReLU())), r"surgeon.save\(model.net\[0\], ...\).$"),
    "a compiled part": (
        lambda model: Trainer(torch.compile(model)),
        "^'net' is a compiled model, under whose name no file finds its weights: model.net = model.net._orig_mod, then "
        r"surgeon.save\(model, ...\).$",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_taken_off_is_named(name, tmp_path):
    wrap, told = REFUSED[name]
    with pytest.raises(BadModel, match=told):
        surgeon.save(wrap(tiny()), tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


def test_what_the_refusal_says_works(tmp_path):
    model = Trainer(tiny())
    surgeon.save(model.net, tmp_path / "a.safetensors")
    assert_same_bits(model.net, surgeon.load(tmp_path / "a.safetensors"))


def test_a_forward_of_ones_own_is_still_refused(tmp_path):
    model = tiny()
    model.forward = lambda x: x
    with pytest.raises(BadModel, match="its 'forward' is a function that the library does not set"):
        surgeon.save(model, tmp_path / "a.safetensors")


def test_no_module_at_all(tmp_path):
    with pytest.raises(BadModel, match="^OrderedDict is no nn.Module: pass the network itself.$"):
        surgeon.save(tiny().state_dict(), tmp_path / "a.safetensors")
