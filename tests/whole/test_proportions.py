"""Tokens at other sizes and other proportions than planned: the map that a gate sees is the network's own, or none."""

import pickle
from copy import deepcopy
from threading import Thread

import pytest
import timm
import torch
import transformers
from torch import nn
from torch.utils.checkpoint import checkpoint

import surgeon
from surgeon.errors import SurgeonError
from tests.shared import strangers, toy

pytestmark = pytest.mark.network

# Landscape, portrait, and one whose number of tokens is a square at every usual stride: 32 x 72 = 48 x 48.
IMAGES = [(224, 224), (192, 256), (256, 192), (128, 288)]


class Sized(nn.Module):
    """Blocks that are told how high and wide the map of their tokens is, one of them by numbers called otherwise."""

    def __init__(self, told="sizes"):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.block = {"sizes": ToldBlock, "map": MapBlock, "nothing": toy.TokenBlock, "around": Around}[told](8)
        self.told = told
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = self.embed(x)
        height, width = x.shape[2:]
        if self.told == "map":
            return self.head(self.block(x).mean((2, 3)))
        x = x.flatten(2).transpose(1, 2)
        x = self.block(x, (width, height)) if self.told in ("sizes", "around") else self.block(x)
        return self.head(x.mean(1))


class ToldBlock(toy.TokenBlock):
    """Is given the width first."""

    def forward(self, x, size):
        return super().forward(x)


class Around(nn.Module):
    """Is given the width first, and keeps it from its block; so do Swin's, from what owns attention in them."""

    def __init__(self, width):
        super().__init__()
        self.inner = toy.TokenBlock(width)

    def forward(self, x, size):
        return self.inner(x)


class MapBlock(toy.TokenBlock):
    """Makes its tokens itself."""

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.mlp(self.norm(tokens))
        return tokens.transpose(1, 2).reshape(x.shape)


def views(model):
    """Where each gate will leave the size of the maps that it sees: {path: [size, ...]}."""
    seen = {}
    for path, gate in surgeon.attention_modules(model).items():

        def attend(x, path=path, attend=gate.attend):
            seen.setdefault(path, []).append(tuple(x.shape[2:]))
            return attend(x)

        gate.attend = attend
    return seen


def vit(**options):
    return timm.create_model("test_vit", **options)


def segformer():
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[16, 32], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=32,
    )  # fmt: skip
    return transformers.SegformerForSemanticSegmentation(config)


def dinov2():
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=16
    )
    return transformers.Dinov2Model(config)


def detr():
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"]
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone_config=backbone, d_model=16, num_queries=100,
        encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16,
    )  # fmt: skip
    return transformers.DetrForObjectDetection(config)


def small(name):
    return lambda: timm.create_model(name, num_classes=3)


# By hand: at which strides of the image the tokens lie, as the network's own code has it.
TOLD = {
    "pvt_v2_b0": (small("pvt_v2_b0"), "residual", {4, 8, 16, 32}),
    "twins": (small("twins_svt_small"), "residual", {4, 8, 16, 32}),
    "xcit": (small("xcit_nano_12_p16_224"), "residual", {16}),
    "xcit, its last block": (small("xcit_nano_12_p16_224"), "final", {16}),
    "davit": (small("davit_tiny"), "residual", {4, 8, 16, 32}),
    "segformer": (segformer, "residual", {4, 8}),
    "numbers": (Sized, "residual", {4}),
    "its own map": (lambda: Sized("map"), "residual", {4}),
    "the map before": (lambda: Sized("nothing"), "residual", {4}),
    "the module around": (lambda: Sized("around"), "residual", {4}),
    "vit": (lambda: vit(dynamic_img_size=True), "residual", {16}),
    "dinov2": (dinov2, "residual", {16}),
    "detr": (detr, "residual", {4, 8, 16, 32}),
}


@torch.no_grad()
@pytest.mark.network
@pytest.mark.parametrize("name", TOLD)
def test_gates_see_the_map_of_the_run(name):
    make, where, strides = TOLD[name]
    model = make().eval()
    before = [_answer(model(image(size))) for size in IMAGES]
    surgeon.inject(model, "cbam", where=where, example_inputs=image(IMAGES[0]))
    seen = views(model)
    for size, expected in zip(IMAGES, before, strict=True):
        seen.clear()
        assert torch.equal(_answer(model(image(size))), expected)
        gates = surgeon.attention_modules(model)
        maps = {shape for path in seen for shape in seen[path] if gates[path].layout and "L" in gates[path].layout.name}
        # Windows are of one size, whatever the image.
        assert maps - {(7, 7)} <= {tuple(side // stride for side in size) for stride in strides} and maps
    surgeon.remove(model)
    assert all(torch.equal(_answer(model(image(size))), expected) for size, expected in zip(IMAGES, before))


def told_before():
    """A network whose blocks are told nothing, with attention that was planned at 160 x 160."""
    model = Sized("nothing").eval()
    return surgeon.inject(model, "cbam", init="paper", example_inputs=image((160, 160)))


# As many tokens each: of 5 x 20 and of 20 x 5 pixels.
FLAT, TALL = (20, 80), (80, 20)


@torch.no_grad()
def test_a_part_that_is_run_on_its_own_goes_by_the_number_of_its_tokens():
    model = told_before()
    seen = views(model)
    tokens = model.embed(image(FLAT)).flatten(2).transpose(1, 2)
    for _ in range(2):
        model.block(tokens)
    assert [*seen.values()] == [[(5, 20)] * 2]
    model(image(TALL))
    with pytest.raises(SurgeonError, match=r"block: after .*: 100 tokens have been maps of 5 x 20 and 20 x 5, and"):
        model.block(tokens)
    model(image(FLAT))
    with surgeon.disabled(model):
        model.block(tokens)


class Pair(Sized):
    """Two images, both embedded before the tokens of either go on."""

    def forward(self, x, other=None):
        if other is None:
            return super().forward(x)
        maps = [self.embed(image).flatten(2).transpose(1, 2) for image in (x, other)]
        return [self.block(tokens).mean(1) for tokens in maps]


@torch.no_grad()
def test_of_two_maps_of_one_number_of_tokens_none_is_taken_for_the_other():
    model = surgeon.inject(Pair("nothing").eval(), "cbam", init="paper", example_inputs=image((160, 160)))
    seen = views(model)
    model(image(FLAT), image((32, 64)))
    assert [*seen.values()] == [[(5, 20), (8, 16)]]
    with pytest.raises(SurgeonError, match=r"100 tokens have been maps of 5 x 20 and 20 x 5, and"):
        model(image(FLAT), image(TALL))
    # Whoever runs one image again is told of it.
    seen.clear()
    for size in (TALL, FLAT):
        model(image(size))
    assert [*seen.values()] == [[(20, 5), (5, 20)]]
    with surgeon.disabled(model):
        model(image(FLAT), image(TALL))
    model(image(FLAT))


def test_what_a_backward_pass_runs_again_is_the_same_map():
    model = told_before()
    block = model.block.forward
    model.block.forward = lambda x: checkpoint(block, x, use_reentrant=False)
    first = model(image(FLAT)).sum()
    model(image((32, 64))).sum().backward()
    first.backward()
    first = model(image(FLAT)).sum()
    model(image(TALL)).sum()
    with pytest.raises(SurgeonError, match="does not know which: run the whole network, without checkpointing and"):
        first.backward()


@torch.no_grad()
def test_a_compiled_network_keeps_its_proportions():
    model = told_before()
    compiled = torch.compile(model, backend="eager", dynamic=False)
    assert torch.equal(compiled(image((160, 160))), model(image((160, 160))))
    with pytest.raises(Exception, match="tokens of 20 x 80 here, planned with 40 x 40: a compiled network keeps"):
        compiled(image((80, 320)))


@torch.no_grad()
@pytest.mark.parametrize("attention", ["se", "eca"])
def test_one_score_for_all_positions_needs_no_map(attention):
    model = Sized("nothing").eval()
    before = model(image((128, 288)))
    surgeon.inject(model, attention, example_inputs=image((160, 160)))
    assert torch.equal(model(image((128, 288))), before)


@torch.no_grad()
def test_what_tells_is_as_before():
    model = Sized("nothing").eval()
    attributes = set(vars(model.embed))
    surgeon.inject(model, "cbam", init="paper", example_inputs=image((160, 160)))
    surgeon.inject(model, "bam", where="bloc*", init="paper", example_inputs=image((160, 160)))
    right = model(image((64, 80)))
    for other in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        seen = views(other)
        assert torch.equal(other(image((64, 80))), right)
        assert {size for sizes in seen.values() for size in sizes} == {(16, 20)}
    surgeon.remove(model)
    assert type(model.embed) is nn.Conv2d and set(vars(model.embed)) == attributes


@pytest.mark.parametrize("told", ["sizes", "nothing"])
def test_threads_at_different_sizes(told):
    model = surgeon.inject(Sized(told).eval(), "cbam", init="paper", example_inputs=image((64, 64)))
    sizes = [(64, 64), (32, 128), (128, 32), (48, 80)]
    expected = [model(image(size)) for size in sizes]
    wrong = []

    def answer(size, right):
        wrong.extend(size for _ in range(20) if not torch.equal(model(image(size)), right))

    threads = [Thread(target=answer, args=pair) for pair in zip(sizes, expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and not torch.equal(expected[1], expected[2])


class Patched(nn.Module):
    """A block that sees a map as windows of 2 x 2 pixels, in a row behind the channels; so does MobileViTv2."""

    def __init__(self):
        super().__init__()
        self.embed, self.block, self.last = nn.Conv2d(3, 8, 4, 4), Pointwise(), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        x = self.embed(x)
        windows = nn.functional.unfold(x, 2, stride=2).reshape(len(x), 8, 4, -1)
        x = nn.functional.fold(self.block(windows).flatten(1, 2), x.shape[2:], 2, stride=2)
        return self.last(x).mean((2, 3))


class Pointwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 8, 1))

    def forward(self, x):
        return x + self.layers(x)


@torch.no_grad()
def test_windows_are_no_map_though_they_are_as_many_as_the_pixels_of_one():
    # Of 4 x 4 pixels: 4 windows of 4 pixels.
    (site,) = surgeon.plan(Patched(), "cbam", example_inputs=image((16, 16)))
    assert (site.layout, site.size) == ("NCGL", (2, 2))


@torch.no_grad()
def test_windows_of_other_proportions_are_told_their_map():
    model = surgeon.inject(Patched().eval(), "cbam", init="paper", example_inputs=image((64, 64)))
    seen = views(model)
    model(image((32, 96)))
    assert [*seen.values()] == [[(4, 12)]]


@torch.no_grad()
def test_an_image_of_a_single_window_hides_no_place():
    model = Patched().eval()
    assert surgeon.places(model, example_inputs=image((8, 8)))["residual"] == 1
    with pytest.raises(SurgeonError, match="finds 0 of its 1 places on 8 x 8 pixels, .* example_inputs= of 16 x 32;"):
        surgeon.plan(model, "cbam", example_inputs=image((8, 8)))
    small = image((8, 8))
    before = model(small)
    assert torch.equal(surgeon.inject(model, "cbam", example_inputs=image((16, 32)))(small), before)


@torch.no_grad()
def test_a_network_that_ends_in_one_pixel_on_purpose_is_planned_at_the_size_that_it_was_made_for():
    model = nn.Sequential(toy.conv(3, 4, 2), *(nn.Sequential(strangers.Block(4), toy.conv(4, 4, 2)) for _ in range(7)))
    guessed, told = (surgeon.plan(model, "se", where="bottleneck", example_inputs=x) for x in (None, image((224, 224))))
    assert len(guessed) > 3 and [*told] == [*guessed]
    with pytest.raises(SurgeonError, match="plan with a larger image"):
        surgeon.plan(model, "se", where="bottleneck", example_inputs=image((64, 64)))


@torch.no_grad()
@pytest.mark.network
@pytest.mark.parametrize("sides", [(320, 256, 224)])
def test_queries_are_no_map_at_any_size(sides):
    # At 320 the map has 10 x 10 pixels, as many as there are queries.
    model = detr().eval()
    found = [_sites(model, torch.zeros(1, 3, side, side)) for side in sides]
    assert found[0] == found[1] == found[2]
    assert not any("decoder" in module or "predictor" in module for _, module, _ in found[0])


@torch.no_grad()
@pytest.mark.network
@pytest.mark.parametrize("length", [77, 64, 49])
def test_words_are_no_map(length):
    tower = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = {**tower, "vocab_size": 99, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    vision = {**tower, "image_size": 64, "patch_size": 8}
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    example = {"input_ids": torch.ones(1, length, dtype=torch.long), "pixel_values": torch.zeros(1, 3, 64, 64)}
    plan = surgeon.plan(model, "se", where=["residual", "final"], example_inputs=example)
    assert {site.module.split(".")[0] for site in plan} == {"vision_model"}
    assert {(site.size, site.prefix) for site in plan} == {((8, 8), 1)}


def _sites(model, x):
    places = [place for place, count in surgeon.places(model, example_inputs=x).items() if count]
    plans = {place: surgeon.plan(model, "se", where=place, example_inputs=x) for place in places}
    return {(place, site.module, site.after) for place, plan in plans.items() for site in plan}


def _answer(result):
    return result if isinstance(result, torch.Tensor) else result[0]


def image(size):
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
