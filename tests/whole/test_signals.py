"""Networks of one dimension (sound, heartbeats): every place, every attention, at another length too."""

import pytest
import torch
from torch import nn

import surgeon

pytestmark = pytest.mark.fast

SIGNAL, LONGER = torch.randn(2, 4, 64), torch.randn(2, 4, 90)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(inputs, outputs, 7, stride, 3), nn.BatchNorm1d(outputs)
        self.conv2, self.bn2 = nn.Conv1d(outputs, outputs, 7, 1, 3), nn.BatchNorm1d(outputs)
        self.project = nn.Conv1d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        return (self.project(x) + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


def network():
    torch.manual_seed(0)
    stages = [nn.Sequential(Block(8, 8), Block(8, 8)), nn.Sequential(Block(8, 16, 2), Block(16, 16))]
    stem = nn.Sequential(nn.Conv1d(4, 8, 7, 2, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2))
    return nn.Sequential(stem, *stages, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 3)).eval()


def test_the_places_of_a_signal_are_those_of_an_image():
    found = surgeon.places(network(), example_inputs=SIGNAL)
    assert {place: found[place] for place in ("residual", "bottleneck", "final", "input")} == {
        "residual": 4,
        "bottleneck": 1,
        "final": 1,
        "input": 1,
    }


@pytest.mark.parametrize("attention", ["cbam", "bam", "se", "eca"])
@pytest.mark.parametrize("place", ["residual", "bottleneck", "final", "input"])
def test_attention_on_a_signal_changes_no_bit_and_learns(place, attention):
    model = network()
    before = model(SIGNAL), model(LONGER)
    surgeon.inject(model, attention, where=place, example_inputs=SIGNAL)
    assert torch.equal(model(SIGNAL), before[0]) and torch.equal(model(LONGER), before[1])
    model(SIGNAL).square().mean().backward()
    for gate in surgeon.attention_modules(model).values():
        assert any(weight.grad is not None and weight.grad.any() for weight in gate.parameters())
    assert torch.equal(surgeon.remove(model)(LONGER), before[1])


def test_words_are_no_signal():
    """Rows of numbers without channels are neither an image nor a signal."""
    with pytest.raises(surgeon.SurgeonError, match="N x C x L"):
        surgeon.places(nn.Sequential(nn.Linear(8, 8)), example_inputs=torch.randn(2, 8))


def test_a_spectrogram_without_channels_is_an_image_where_it_is_laid_out_as_one():
    """Frames x frequencies: what lies behind the batch are no channels, and a convolution gets an axis for them first."""

    class Heard(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.head = nn.Conv2d(1, 8, 4, 4), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.patches(x.unsqueeze(1)).mean((2, 3)))

    model, sound = Heard().eval(), torch.randn(2, 32, 16)
    before = model(sound)
    plan = surgeon.plan(model, "eca", where="final", example_inputs=sound)
    assert [(str(site), site.shape) for site in plan] == [("patches: after output", "8 x 8 x 4")]
    surgeon.apply(model, plan, example_inputs=sound)
    assert torch.equal(model(sound), before)
