"""Networks of transformers, whose models take flags by keyword and capture what is asked for by hooks."""

import logging

import pytest
import torch
import transformers

import surgeon
from surgeon.errors import BadFile

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


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::surgeon.errors.UnusedSite")
@pytest.mark.parametrize("shards", ["50GB", "50KB"])
@pytest.mark.parametrize("make", [vit, segformer])
def test_a_folder_keeps_its_attention(make, shards, tmp_path, caplog):
    model = surgeon.inject(make().eval(), "cbam", example_inputs={"pixel_values": IMAGE})
    for weight in surgeon.attention_parameters(model).values():
        weight.add_(torch.randn_like(weight) * 0.3)
    model.save_pretrained(tmp_path, max_shard_size=shards)
    expected = model(IMAGE).logits
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        for again in (surgeon.load(tmp_path), surgeon.from_pretrained(type(model), tmp_path)):
            assert torch.equal(again(IMAGE).logits, expected) and not again.training
        assert not caplog.records
        plain = type(model).from_pretrained(tmp_path)
        assert f"surgeon.load({str(tmp_path)!r}) or" in caplog.records[-1].getMessage()
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert not surgeon.attention_modules(plain) and not torch.equal(plain(IMAGE).logits, expected)


def test_a_folder_of_another_head_is_refused_or_loaded_whole(tmp_path):
    model = surgeon.inject(vit().eval(), "se", example_inputs=IMAGE)
    model.save_pretrained(tmp_path)
    again = surgeon.from_pretrained(transformers.AutoModelForImageClassification, str(tmp_path))
    assert list(surgeon.attention_modules(again)) == list(surgeon.attention_modules(model))
    with pytest.raises(BadFile, match=r"ViTForImageClassification, and its attention does not fit this ViTModel"):
        surgeon.from_pretrained(transformers.AutoModel, tmp_path)
