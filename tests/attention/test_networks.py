"""In whole networks: weights and multiply-adds to the digit, timm's own networks, published checkpoints, training."""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from sklearn.datasets import load_digits
from timm.models import byobnet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import surgeon
from surgeon.attention import attention_modules, attention_parameters, build, record
from surgeon.checkpoints.published import load_published
from surgeon.errors import BadModule
from tests.shared.official import official_key, spread

pytestmark = pytest.mark.network

PLACE = {"bam": "bottleneck"}
FORMS = [(None, {}), ("se", {}), ("cbam", {}), ("cbam", {"bias": False}), ("eca", {}), ("bam", {})]
WEIGHTS = {
    "resnet18": (11_689_512, 11_778_592, 11_779_392, 11_777_352, 11_689_548, 11_712_503),
    "resnet50": (25_557_032, 28_088_024, 28_089_624, 28_073_576, 25_557_118, 25_915_099),
    "resnext50_32x4d": (25_028_904, 27_559_896, 27_561_496, 27_545_448, 25_028_990, 25_386_971),
    "wide_resnet50_2": (68_883_240, 71_414_232, 71_415_832, 71_399_784, 68_883_326, 69_241_307),
}
ROWS = [
    (name, attention, options, weights)
    for name, row in WEIGHTS.items()
    for (attention, options), weights in zip(FORMS, row)
]
ABLATIONS = [  # CBAM paper, tables 2 and 3
    ("resnet50", "cbam", {"kernel_size": 3}, 28_088_344),
    ("resnet50", "cbam", {"maps": "conv"}, 28_103_944),
]


def on_meta(make, attention=None, **options):
    with torch.device("meta"):
        model = make()
    if attention:
        surgeon.inject(model, attention, where=PLACE.get(attention, "residual"), init="paper", **options)
    return model


def count(model):
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(("name", "attention", "options", "weights"), ROWS + ABLATIONS)
def test_weights_to_the_digit(name, attention, options, weights):
    make = getattr(torchvision.models, name)
    model = on_meta(make, attention, **options)
    assert count(model) == weights
    if attention:
        plan = surgeon.plan(on_meta(make), attention, where=PLACE.get(attention, "residual"), init="paper", **options)
        assert count(on_meta(make)) + sum(site.parameters for site in plan) == weights


@pytest.mark.parametrize(
    ("attention", "channels", "weights"), [("cbam", None, 5_074_976), ("bam", (128, 256, 512), 4_322_307)]
)
def test_weights_on_mobilenet_v1(attention, channels, weights):
    """CBAM after each of its 27 conv-BN layers, BAM before three of its poolings."""
    model = on_meta(lambda: timm.create_model("mobilenetv1_100"))
    norms = [module.num_features for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 27
    more = [count(build(attention, each, init="paper")) for each in channels or norms]
    assert count(model) + sum(more) == weights


@pytest.mark.parametrize(
    ("plain", "attention", "options", "where", "full", "weights"),
    [
        ("resnet50", "se", {}, "residual", "seresnet50", 28_088_024),
        ("resnet26t", "eca", {}, "residual", "ecaresnet26t", 16_011_916),
        ("gcresnet50t", "timm:gca", {}, "stages.*.*.conv2_kxk", "gcresnet50t", 25_897_080),
    ],
)
def test_weights_of_timms_own(plain, attention, options, where, full, weights):
    if plain == full:
        # Older releases of timm can't build it on meta.
        model = byobnet.ByobNet(replace(byobnet.model_cfgs[plain], attn_layer=None))
    else:
        model = on_meta(lambda: timm.create_model(plain))
    surgeon.inject(model, attention, where=where, init="paper", **options)
    assert count(model) == count(on_meta(lambda: timm.create_model(full))) == weights


# GMACs with torchvision's strides, and with those of the papers (v1: the first convolution of a block strides).
@pytest.mark.parametrize(
    ("name", "attention", "version", "published"),
    [
        ("resnet50", None, 1.5, 4.0892), ("resnet50", "se", 1.5, 4.0917), ("resnet50", "cbam", 1.5, 4.0956),
        ("resnet50", None, 1, 3.858), ("resnet50", "se", 1, 3.860), ("resnet50", "cbam", 1, 3.864),
        ("resnet50", "bam", 1, 3.94), ("resnet18", None, 1, 1.814), ("resnet18", "se", 1, 1.814),
        ("resnet18", "cbam", 1, 1.815), ("resnet18", "bam", 1, 1.82),
    ],
)  # fmt: skip
def test_multiply_adds(name, attention, version, published):
    model = on_meta(getattr(torchvision.models, name)).eval()
    for block in model.modules() if version == 1 else ():
        if isinstance(block, torchvision.models.resnet.Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    plain = multiply_adds(model)
    if attention:
        plan = surgeon.plan(model, attention, where=PLACE.get(attention, "residual"), init="paper")
        surgeon.apply(model, plan)
        assert plain + sum(site.macs for site in plan) == multiply_adds(model)
    digits = len(str(published).partition(".")[2])
    # The papers cut off where they should round: 3.8605 is printed as 3.860.
    assert multiply_adds(model) / 1e9 == pytest.approx(published, abs=10**-digits * 0.6)


def multiply_adds(model):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, 224, 224, device="meta"))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("init", ["identity", "paper"])
@pytest.mark.parametrize(
    ("plain", "attention", "options", "full", "arguments"),
    [
        ("resnet50", "se", {}, "seresnet50", {}),
        ("resnet18", "se", {"divisor": 8}, "seresnet18", {}),
        ("resnet26t", "eca", {}, "ecaresnet26t", {}),
        ("resnet50", "cbam", {"bias": False}, "resnet50", {"block_args": {"attn_layer": "cbam"}}),
        ("resnet18", "timm:gc", {}, "resnet18", {"block_args": {"attn_layer": "gc"}}),
    ],
)
def test_timms_own_networks(plain, attention, options, full, arguments, init):
    theirs = spread(timm.create_model(full, **arguments).double())
    mine = surgeon.inject(timm.create_model(plain).double(), attention, where="residual", init=init, **options)
    load_published(mine, theirs.state_dict())
    x = torch.randn(2, 3, 32, 64, dtype=torch.float64)
    with torch.no_grad():
        for training in (False, True):
            torch.testing.assert_close(mine.train(training)(x), theirs.train(training)(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("attention", ["cbam", "bam"])
def test_an_official_checkpoint_in_torchvisions_network(attention):
    where = PLACE.get(attention, "residual")
    source = spread(surgeon.inject(torchvision.models.resnet18(), attention, where=where, init="paper")).eval()
    weights = {official_key(key): value.clone() for key, value in source.state_dict().items()}
    assert any("module.bam3.spatial_att" in key or "module.layer4.1.cbam.SpatialGate" in key for key in weights)
    model = surgeon.inject(torchvision.models.resnet18(), attention, where=where).eval()
    placed = load_published(model, {"arch": "resnet", "state_dict": weights})
    assert len(placed) == len(weights)
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(model(x), source(x), rtol=1e-4, atol=1e-4)


class Small(nn.Module):
    """A stem, two residual blocks and a head, for images of 8 x 8."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        block = torchvision.models.resnet.BasicBlock
        self.blocks = nn.Sequential(block(16, 16), block(16, 16))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


def digits():
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16 - 0.3, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)


@pytest.mark.parametrize("attention", ["cbam", "bam", "se", "eca", "timm:se", "timm:nl"])
def test_50_steps_on_digits(attention):
    torch.manual_seed(0)
    images, labels = digits()
    # Of one hidden channel the norm behind it undoes the scale, whose gradient is then rounding alone.
    options = {"reduction": 4} if attention == "bam" else {}
    model = surgeon.inject(Small(), attention, where="residual", example_inputs=images[:2], **options)
    start = {key: weight.clone() for key, weight in attention_parameters(model).items()}
    assert len(attention_modules(model)) == 2
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step in range(50):
        batch = torch.arange(step * 64, step * 64 + 64) % len(images)
        losses.append(nn.functional.cross_entropy(model(images[batch]), labels[batch]))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert [key for key, weight in attention_parameters(model).items() if torch.equal(weight, start[key])] == []


@pytest.mark.parametrize("init", ["identity", "paper"])
def test_a_recording_says_which_input_channels_count(init):
    """Three channels of noise beside the image, as in the experiment of attention on the input."""
    torch.manual_seed(0)
    images, labels = digits()

    class Noisy(Small):
        def __init__(self):
            super().__init__()
            self.stem[0] = nn.Conv2d(4, 16, 3, padding=1)

    model = surgeon.inject(
        Noisy(),
        "cbam",
        where="input",
        init=init,
        example_inputs=torch.zeros(2, 4, 8, 8),
        branches="channel",
        reduction=1,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(150):
        batch = torch.randint(len(images), (64,))
        noisy = torch.cat([images[batch], torch.randn(64, 3, 8, 8)], 1)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(noisy), labels[batch]).backward()
        optimizer.step()
    with record(model.eval()) as maps, torch.no_grad():
        model(torch.cat([images[:64], torch.randn(64, 3, 8, 8)], 1))
    ((scores,),) = [kept["channel"] for kept in maps.values()]
    image, *noise = scores.mean((0, 2, 3))
    assert all(image > each + 0.5 for each in noise)


class Strided(nn.Module):
    """A user's module that halves the map."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x):
        return self.conv(x)


def test_a_module_that_changes_the_shape_is_refused_with_its_site():
    message = r"^layer1\.0: after bn2: Strided changes the shape: 2 x 64 x 56 x 56 in, 2 x 64 x 28 x 28 out\."
    model = torchvision.models.resnet18()
    with pytest.raises(BadModule, match=message):
        surgeon.inject(model, Strided, where="residual")
    assert not attention_modules(model)
