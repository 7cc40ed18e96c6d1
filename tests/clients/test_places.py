"""Networks of other libraries that once had places missing or wrong, beside what their source says; bits kept there."""

import pytest
import torch

import surgeon
from benchmarks import trials, truth
from surgeon.trace.outputs import same_bits

pytestmark = [
    pytest.mark.clients,
    # What the libraries warn of; and surgeon, that AST reads nothing but its class token at the end.
    pytest.mark.filterwarnings("ignore"),
]

NETWORKS = {
    "monai:FlexibleUNet": "monai",
    "monai:BasicUNetPlusPlus": "monai",
    "monai:AttentionUnet": "monai",
    "pytorchvideo:slowfast_r50": "pytorchvideo",
    "transformers:FocalNet": "transformers",
    "transformers:MaskFormer": "transformers",
    "transformers:Swinv2": "transformers",
    "transformers:Swin2SR": "transformers",
    "transformers:AST": "transformers",
    "transformers:Wav2Vec2": "transformers",
    "transformers:LeViT": "transformers",
    "transformers:BEiT-segmentation": "transformers",
    "monai:HighResNet": "monai",
    "monai:UNet-plain": "monai",
    "open_clip:CoCa": "open_clip",
    "pytorchvideo:x3d": "pytorchvideo",
    "smp:PAN": "segmentation_models_pytorch",
    "pretrainedmodels:dpn68": "pretrainedmodels",
}


@pytest.mark.parametrize("network", NETWORKS)
def test_places_are_those_of_the_source_and_bits_are_kept(network):
    pytest.importorskip(NETWORKS[network])
    entry, model = truth.listed()["networks"][network], trials.made(network).eval()
    example = trials.Example(next(trials._examples(entry)))
    before = example.answer(model)
    for place in trials.PLACES:
        told = truth.expected(place, entry, model)
        assert surgeon.places(model, example_inputs=example.given)[place] == truth.number(told), place
        if truth.number(told):
            plan = surgeon.plan(model, "cbam", where=place, example_inputs=example.given)
            assert truth.agrees(told, plan.sites, model, example.given), place
            surgeon.apply(model, plan, example_inputs=example.given)
            assert same_bits(before, example.answer(model))
            surgeon.remove(model)


def test_beit_with_free_keywords_has_both_branches_of_each_block():
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    config = transformers.BeitConfig(**sizes, image_size=64, patch_size=16)
    model, image = transformers.BeitModel(config).eval(), torch.randn(2, 3, 64, 64)
    before = model(image).last_hidden_state
    surgeon.inject(model, "cbam", where="residual", example_inputs=image)
    assert len(surgeon.attention_modules(model)) == 4 and torch.equal(model(image).last_hidden_state, before)


def test_whispers_encoder_has_the_branches_of_its_layers():
    transformers = pytest.importorskip("transformers")
    sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    torch.manual_seed(0)
    model = WhisperEncoder(transformers.WhisperConfig(**sizes, max_source_positions=50)).eval()
    sound = torch.randn(2, 80, 100)
    before = model(sound).last_hidden_state
    surgeon.inject(model, "cbam", where="residual", example_inputs=sound)
    assert len(surgeon.attention_modules(model)) == 4 and torch.equal(model(sound).last_hidden_state, before)
