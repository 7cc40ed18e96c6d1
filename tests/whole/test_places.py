"""Where attention goes in networks as people write them, beside what their forwards say."""

import pytest
import torch

import surgeon
from surgeon.errors import BadPlan, NoSite
from tests.shared import strangers
from tests.shared.bits import assert_same_bits
from tests.shared.gates import stir

UNET = {"bottleneck": ["inc: after output", "down1: after output"], "final": ["conv2: after output"]}
CIFAR = {
    "residual": [f"layer{stage}.{block}: after bn2" for stage in (1, 2, 3) for block in (0, 1)],
    "bottleneck": ["layer1: after output", "layer2: after output"],
    "final": ["layer3: after output"],
    "input": ["conv1: after input"],
}
STREAMS = ("frames", "motion")
SIAMESE = {
    "residual": [f"net.layer{stage}.0: after bn2" for stage in (1, 2, 3)],
    "bottleneck": ["net.layer1: after output", "net.layer2: after output"],
    "final": ["net.layer3: after output"],
    "input": ["net.conv1: after input"],
}
# What their forwards say, read by hand: the sites at each place; none where a place is left out.
TRUTH = {
    strangers.SuperResolution: {
        "residual": [f"body.{number}: after two" for number in range(4)],
        "final": ["tail.1: after output"],
        "input": ["head: after input"],
    },
    strangers.Restored: {
        "residual": [f"groups.{group}.body.{block}: after two" for group in (0, 1) for block in (0, 1)],
        "final": ["tail: after input"],
        "input": ["the model itself: after input"],
    },
    strangers.Widening: {
        "residual": ["two: after output"],
        "final": ["relu: after output"],
        "input": ["stem: after input"],
    },
    strangers.TwoStreams: {
        "residual": [f"{name}.{stage}.{block}: after two" for name in STREAMS for stage in (1, 2) for block in (1, 2)],
        "bottleneck": [f"{name}.1: after output" for name in STREAMS],
        "final": [f"{name}.2: after output" for name in STREAMS],
        "input": [f"{name}.0: after input" for name in STREAMS],
    },
    strangers.Fused: {
        "residual": [f"{name}.{at}.{n}: after two" for at in (0, 1) for name in ("depth", "colour") for n in (1, 2)],
        "bottleneck": ["depth.0: after output", "fuse.0: after output"],
        "final": ["fuse.1: after output"],
        "input": ["colour_stem: after input", "depth_stem: after input"],
    },
    strangers.Masked: {
        "residual": ["stage.1: after two", "stage.2: after two"],
        "final": ["stage: after output"],
        "input": ["the model itself: after input"],
    },
    strangers.SidePooled: {
        "residual": [
            *(f"stages.{stage}.{block}: after two" for stage in (0, 1) for block in (0, 1)),
            "last: after two",
        ],
        "bottleneck": ["stages.0.1: after output", "stages.1.1: after output"],
        "final": ["last: after output"],
        "input": ["stem: after input"],
    },
    strangers.Discriminator: {
        "bottleneck": ["main.4: after output"],
        "final": ["main.7: after output"],
        "input": ["main.0: after input"],
    },
    strangers.Nested: {
        "bottleneck": ["down0: after output", "down1: after output"],
        "final": ["up02: after output"],
        "input": ["down0.0: after input"],
    },
    strangers.UNet: UNET | {"input": ["inc.0: after input"]},
    strangers.AddedUNet: {
        "residual": [f"{block}: after two" for block in ("enc1", "enc2", "enc3", "dec2", "dec1")],
        "bottleneck": ["enc1: after output", "enc2: after output"],
        "final": ["out.1: after output"],
        "input": ["stem: after input"],
    },
    strangers.NestedUNet: {
        "residual": [f"levels.{path}.2: after two" for path in ("down", "deeper.down", "deeper.deeper")],
        "bottleneck": ["levels.down: after output", "levels.deeper.down: after output"],
        "final": ["levels.join: after output"],
        "input": ["levels.down.0: after input"],
    },
    strangers.Scored: {
        "residual": ["the model itself: after last"],
        "final": ["up.0: after input"],
        "input": ["down.0: after input"],
    },
    strangers.Autoencoder: {
        "bottleneck": ["encode.3: after output"],
        "final": ["decode: after output"],
        "input": ["encode.0: after input"],
    },
    strangers.Generator: {"final": ["make.3: after output"], "input": ["make.0: after input"]},
    strangers.Cifar: CIFAR,
    strangers.Siamese: SIAMESE,
    strangers.Streams: SIAMESE | {"input": ["colour: after input", "depth: after input"]},
}
IMAGES = {
    strangers.Siamese: (3, 3),
    strangers.Streams: (3, 3),
    strangers.TwoStreams: (3, 2),
    strangers.Fused: (3, 1),
    strangers.Masked: (3, 1),
}


def images(kind, side):
    """What a network of this kind is called with."""
    generator = torch.Generator().manual_seed(side)
    return tuple(torch.randn(2, channels, side, side, generator=generator) for channels in IMAGES.get(kind, (3,)))


@pytest.mark.parametrize("side", [32, 48])
@pytest.mark.parametrize("kind", TRUTH)
def test_sites(kind, side):
    model, example = kind(), images(kind, side)
    truth = {place: TRUTH[kind].get(place, []) for place in ("residual", "bottleneck", "final", "input")}
    assert surgeon.places(model, example_inputs=example) == {place: len(truth[place]) for place in truth} | {"gate": 0}
    plans = {place: surgeon.plan(model, "cbam", where=place, example_inputs=example) for place in TRUTH[kind]}
    assert {place: list(map(str, plan.sites)) for place, plan in plans.items()} == TRUTH[kind]


PLACES = [(kind, place) for kind, truth in TRUTH.items() for place in truth]


@pytest.mark.parametrize(("kind", "place"), PLACES, ids=lambda part: getattr(part, "__name__", part))
def test_bits_are_kept_gates_are_heard_and_all_is_restored(kind, place):
    """Planned at one size and run at another as well."""
    torch.manual_seed(0)
    model, examples = kind().eval(), [images(kind, side) for side in (32, 48)]
    state, before = list(model.state_dict()), repr(model)
    with torch.no_grad():
        old = [model(*example) for example in examples]
        surgeon.inject(model, "cbam", where=place, example_inputs=examples[0])
        for example, answer in zip(examples, old):
            assert_same_bits(model(*example), answer)
        stir(model)
        assert not torch.equal(model(*examples[0]), old[0])
        surgeon.remove(model)
        assert_same_bits(model(*examples[0]), old[0])
    assert list(model.state_dict()) == state and repr(model) == before


@torch.no_grad()
@pytest.mark.parametrize("place", SIAMESE)
def test_attention_in_a_siamese_network_works_on_both_images(place):
    model, (one, other) = strangers.Siamese().eval(), images(strangers.Siamese, 32)
    surgeon.inject(model, "cbam", where=place, init="paper", example_inputs=(one, other))
    assert_same_bits(model(one, other), (model.net(one) - model.net(other)).abs())


@pytest.mark.parametrize(("where", "error"), [("final", NoSite), ("agai*[n].0", BadPlan)])
def test_a_layer_that_is_repeated_owns_no_map_and_the_refusal_says_so(where, error):
    model, example = strangers.Repeated(), images(strangers.Repeated, 32)
    with pytest.raises(error, match="called 3 times, and not each time on an image of its own"):
        surgeon.plan(model, "cbam", where=where, example_inputs=example)


@torch.no_grad()
@pytest.mark.parametrize("place", ["residual", "bottleneck", "final", "input"])
def test_a_network_that_changes_the_list_of_images_that_it_is_given(place):
    model, pair = strangers.Pathways().eval(), images(strangers.TwoStreams, 32)
    before = model(list(pair))
    surgeon.inject(model, "cbam", where=place, example_inputs=(list(pair),))
    truth = TRUTH[strangers.TwoStreams][place]
    assert sorted(str(gate.site) for gate in surgeon.attention_modules(model).values()) == sorted(truth)
    assert_same_bits(model(list(pair)), before)
