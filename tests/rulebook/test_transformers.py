"""Networks of Hugging Face's transformers, which surgeon knows nothing of: places, identity, removal."""

import pytest
import torch
import transformers as hf

import surgeon
from tests.shared.bits import assert_same_bits

pytestmark = pytest.mark.network

SIZES = dict(hidden_sizes=[8, 16, 24, 32], depths=[2, 1, 2, 1])
TOKENS = dict(
    hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=64, patch_size=16
)
WINDOWS = dict(image_size=64, patch_size=4, embed_dim=8, depths=[2, 2, 2], num_heads=[1, 2, 2], window_size=4)

# Residual: blocks, or in transformers two for each layer. Bottleneck: ends of stages but the last.
NETWORKS = {
    "ResNet": (lambda: hf.ResNetModel(hf.ResNetConfig(embedding_size=8, layer_type="basic", **SIZES)), (6, 3, 1)),
    "ResNet-bottleneck": (
        lambda: hf.ResNetForImageClassification(hf.ResNetConfig(embedding_size=8, **SIZES)),
        (6, 3, 1),
    ),
    "ConvNeXt": (lambda: hf.ConvNextModel(hf.ConvNextConfig(**SIZES)), (6, 3, 1)),
    "ConvNeXt-classifier": (lambda: hf.ConvNextForImageClassification(hf.ConvNextConfig(**SIZES)), (6, 3, 1)),
    "RegNetY": (lambda: hf.RegNetModel(hf.RegNetConfig(embedding_size=8, groups_width=8, **SIZES)), (6, 3, 1)),
    "RegNetX": (
        lambda: hf.RegNetForImageClassification(
            hf.RegNetConfig(embedding_size=8, groups_width=8, layer_type="x", **SIZES)
        ),
        (6, 3, 1),
    ),
    "ViT": (lambda: hf.ViTModel(hf.ViTConfig(**TOKENS)), (6, 0, 1)),
    "ViT-classifier": (lambda: hf.ViTForImageClassification(hf.ViTConfig(**TOKENS)), (6, 0, 1)),
    "Swin": (lambda: hf.SwinModel(hf.SwinConfig(**WINDOWS)), (12, 2, 1)),
    "Swin-classifier": (lambda: hf.SwinForImageClassification(hf.SwinConfig(**WINDOWS)), (12, 2, 1)),
}
CASES = [
    (name, where, count)
    for name, (_, counts) in NETWORKS.items()
    for where, count in zip(("residual", "bottleneck", "final", "input"), (*counts, 1))
    if count
]


def made(name):
    torch.manual_seed(0)
    return NETWORKS[name][0]()


def tensors(model, seed=0):
    """All tensors that the network returns, as they are in its dataclass."""
    torch.manual_seed(seed)
    side = getattr(model.config, "image_size", 64)
    image = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    return {key: value for key, value in model(pixel_values=image).items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("name", NETWORKS)
def test_places_are_those_that_the_configuration_says(name):
    found = surgeon.places(made(name))
    residual, bottleneck, final = NETWORKS[name][1]
    assert {key: found[key] for key in ("residual", "bottleneck", "final", "input")} == dict(
        residual=residual, bottleneck=bottleneck, final=final, input=1
    )


@pytest.mark.filterwarnings(
    "ignore::surgeon.errors.UnusedSite"
)  # the classifier reads a class token alone behind its last block
@pytest.mark.parametrize("name, where, count", CASES)
def test_identity_is_bit_equal_in_both_modes_and_removal_restores(name, where, count):
    model = made(name)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    classes = [type(module) for module in model.modules()]
    old = {mode: tensors(model.train(mode)) for mode in (False, True)}
    model.load_state_dict(state)
    surgeon.inject(model.eval(), "cbam", where=where)
    assert len(surgeon.attention_modules(model)) == count
    assert [key for key in model.state_dict() if key in state] == list(state)
    for mode in (False, True):
        new = tensors(model.train(mode))
        assert_same_bits(new, old[mode])
    sum(value.float().square().sum() for value in new.values()).backward()
    assert all(
        weight.grad is not None
        for key, weight in surgeon.attention_parameters(model).items()
        if key.endswith("fc2.weight")
    )
    surgeon.remove(model)
    assert [type(module) for module in model.modules()] == classes and list(model.state_dict()) == list(state)


def test_attention_in_a_vit_sits_on_the_map_and_not_on_the_pair():
    model = made("ViT")
    surgeon.inject(model, "se", where="residual", init="paper")
    changed = tensors(model.eval())["last_hidden_state"]
    with surgeon.disabled(model):
        plain = tensors(model)["last_hidden_state"]
    assert changed.shape == plain.shape and not torch.equal(changed, plain)
