"""Networks of transformers, whose models take flags by keyword and capture what is asked for by hooks."""

import pytest
import torch
import transformers

import surgeon

pytestmark = pytest.mark.network

IMAGE = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def vit():
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64, patch_size=16
    )
    return transformers.ViTForImageClassification(config)


def segformer():
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[16, 32], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=32,
    )  # fmt: skip
    return transformers.SegformerForSemanticSegmentation(config)


def dpt():
    config = transformers.DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, image_size=64, patch_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 16, 24, 32], fusion_hidden_size=16, is_hybrid=False,
    )  # fmt: skip
    return transformers.DPTForDepthEstimation(config)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::surgeon.errors.UnusedSite")
@pytest.mark.parametrize("where", ["residual", "final", "input"])
@pytest.mark.parametrize("make", [vit, segformer, dpt])
def test_flags_are_taken_as_before(make, where):
    model = make().eval()
    plain, more = model(IMAGE), model(pixel_values=IMAGE, output_hidden_states=True)
    surgeon.inject(model, "cbam", where=where, example_inputs={"pixel_values": IMAGE}, check="output")
    assert torch.equal(model(IMAGE)[0], plain[0])
    now = model(pixel_values=IMAGE, output_hidden_states=True)
    assert torch.equal(now[0], more[0])
    assert all(torch.equal(state, other) for state, other in zip(now.hidden_states, more.hidden_states, strict=True))


@torch.no_grad()
def test_attention_acts_whatever_the_flags():
    model = vit().eval()
    surgeon.inject(model, "cbam", init="paper", example_inputs=IMAGE)
    assert torch.equal(model(IMAGE, output_hidden_states=True).logits, model(IMAGE).logits)
    with surgeon.disabled(model):
        without = model(IMAGE, output_hidden_states=True).logits
    assert not torch.equal(model(IMAGE, output_hidden_states=True).logits, without)
