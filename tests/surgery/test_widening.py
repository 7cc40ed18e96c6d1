"""`surgeon.widen_input`: more channels for the image, and all that was learned of the old ones kept to the bit."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import surgeon
from surgeon.errors import BadModel, BadOption
from surgeon.networks.channels import widened
from surgeon.trace.noise import noted
from tests.shared import toy


def net(stem=None, channels=8):
    """A stem, a residual block, and a head."""
    model = toy.Net(toy.Residual(channels), channels).eval()
    model.stem = toy.conv(3, channels) if stem is None else stem
    return model


def with_more(image, count=3):
    """The image with so many channels of noise behind its own."""
    noise = torch.rand(len(image), count, *image.shape[2:], generator=torch.Generator().manual_seed(1))
    return torch.cat([image, 100 * noise], 1)


def stem(model):
    return model.get_submodule("stem")


@torch.no_grad()
def test_old_weights_are_kept_and_the_output_is_the_same():
    model, image = net(), toy.image()
    before, old = model(image), stem(model).weight.clone()
    assert surgeon.widen_input(model, channels=6) is model
    new = stem(model).weight
    assert new.shape[1] == stem(model).in_channels == 6
    assert torch.equal(new[:, :3], old) and not new[:, 3:].any()
    assert torch.equal(model(with_more(image)), before)


@torch.no_grad()
def test_it_learns_of_the_new_channels():
    model = surgeon.widen_input(net(), channels=4)
    with torch.enable_grad():
        model(with_more(toy.image(), 1)).square().sum().backward()
    assert stem(model).weight.grad[:, 3].any() and stem(model).weight.requires_grad


def test_new_channels_may_start_as_the_mean_of_the_old():
    model = net()
    old = stem(model).weight.detach().clone()
    surgeon.widen_input(model, channels=5, init="mean")
    new = stem(model).weight.detach()
    assert torch.equal(new[:, :3], old) and torch.equal(new[:, 4:], old.mean(1, keepdim=True))


def test_memory_format_type_and_frozenness_stay():
    model = net().to(memory_format=torch.channels_last).double()
    stem(model).weight.requires_grad_(False)
    surgeon.widen_input(model, channels=6)
    weight = stem(model).weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and weight.dtype == torch.double
    assert not weight.requires_grad


def test_a_weight_of_any_rank_is_widened():
    for rank in (1, 2, 3):
        assert widened(torch.ones(4, 3, *[5] * rank), 7).shape == (4, 7, *[5] * rank)


class Normalises(nn.Module):
    """A preparation without weights in front, which takes any number of channels; two convolutions read what it makes."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 1)

    def forward(self, x):
        x = (x - 0.5) / 0.2
        return self.wide(x) + self.narrow(x)


@torch.no_grad()
def test_all_convolutions_that_read_the_image_are_widened():
    model, image = net(Normalises()), toy.image()
    before = model(image)
    surgeon.widen_input(model, channels=6)
    assert stem(model).wide.in_channels == stem(model).narrow.in_channels == 6
    assert torch.equal(model(with_more(image)), before)


def test_what_it_runs_on_is_noted_with_the_new_channels():
    model = surgeon.inject(net(), "se", example_inputs="2x3x16x16", reduction=2)
    surgeon.widen_input(model, channels=6)
    assert noted(model).args[0].shape == (2, 6, 16, 16)
    assert surgeon.check(model).is_whole


@torch.no_grad()
def test_attention_on_the_input_comes_after():
    model, image = net(), toy.image()
    before = model(image)
    surgeon.inject(surgeon.widen_input(model, channels=6), "se", where="input", reduction=2)
    assert next(iter(surgeon.attention_modules(model).values())).site.channels == 6
    assert torch.equal(model(with_more(image)), before)
    surgeon.remove(model)
    assert stem(model).in_channels == 6 and torch.equal(model(with_more(image)), before)


def test_attention_on_the_input_comes_not_before():
    model = surgeon.inject(net(), "cbam", where="input", reduction=1)
    told = refused(model, 6)
    assert "'stem.cbam' is attention on it" in told and "widen the input" in told


@torch.no_grad()
def test_attention_elsewhere_may_come_before():
    model, image = net(), toy.image()
    before = model(image)
    surgeon.widen_input(surgeon.inject(model, "cbam", reduction=2), channels=6)
    assert torch.equal(model(with_more(image)), before)


def refused(model, channels, error=BadModel, **options):
    """What `widen_input` says when it refuses; nothing is changed."""
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(error) as caught:
        surgeon.widen_input(model, channels, **options)
    now = model.state_dict()
    assert now.keys() == state.keys() and all(torch.equal(now[key], state[key]) for key in state)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Shuffled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(12, 8, 1)

    def forward(self, x):
        return self.conv(F.pixel_unshuffle(x, 2))


class Prepared(nn.Module):
    """A mean for each of three channels."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.rand(3, 1, 1))
        self.conv = toy.conv(3, 8)

    def forward(self, x):
        return self.conv(x - self.mean)


class Beside(nn.Module):
    """Gives the image to what comes later, too."""

    def __init__(self):
        super().__init__()
        self.conv = toy.conv(3, 5)

    def forward(self, x):
        return torch.cat([self.conv(x), x], 1)


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


@pytest.mark.parametrize(
    ("stem", "reason"),
    [
        (lambda: nn.Conv2d(3, 9, 3, 1, 1, groups=3), "in 3 groups"),
        (lambda: nn.Sequential(nn.BatchNorm2d(3), toy.conv(3, 8)), "no convolution"),
        (lambda: Shuffled(), "12 channels that are made of the image's 3"),
        (lambda: Prepared(), "would not run on 6 channels"),
        (lambda: Beside(), "is read by 'cat'"),
        (lambda: Standardised(3, 8, 3, 1, 1), "weights of all channels together"),
        (lambda: parametrizations.weight_norm(toy.conv(3, 8)), "a parametrization"),
    ],
)
def test_other_stems_are_refused(stem, reason):
    model = net(stem(), 9 if reason == "in 3 groups" else 8)
    assert reason in refused(model, 6, example_inputs=toy.image())


@pytest.mark.parametrize("channels", [3, 2, 0, -1, True, 6.0, "6", 10**9])
def test_a_number_that_makes_no_sense(channels):
    assert "channels can't be" in refused(net(), channels, BadOption)


def test_another_start():
    with pytest.raises(BadOption, match="init can't be 'zero'. Did you mean 'zeros'"):
        surgeon.widen_input(net(), 6, init="zero")


def test_an_optimizer_that_holds_the_old_weight():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert "this SGD holds 'stem.weight'" in refused(model, 6)
    del optimizer
    assert stem(surgeon.widen_input(model, 6)).in_channels == 6


def test_a_weight_that_is_shared():
    model = net()
    model.other = copy.deepcopy(stem(model))
    model.other.weight = stem(model).weight
    assert "'other' shares the weight 'stem.weight'" in refused(model, 6)


def test_no_module():
    with pytest.raises(BadModel, match="is no nn.Module"):
        surgeon.widen_input("resnet18", 6)
