"""What users do with a network works as before once it has attention."""

import copy
import subprocess
import sys
from functools import partial

import pytest
import timm
import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

import surgeon
from tests.shared.operated import BUILDERS, image, network, operated

pytestmark = pytest.mark.network

ONE_OF_EACH = ("resnet", "vit")
networks = pytest.mark.parametrize("name", BUILDERS)
one_of_each = pytest.mark.parametrize("name", ONE_OF_EACH)


def timm_s(*names):
    return [pytest.param(partial(timm.create_model, name), id=name) for name in names]


def gates(model):
    return list(surgeon.attention_modules(model))


@networks
def test_deepcopy(name):
    model, x = operated(name), image(name)
    twin = copy.deepcopy(model)
    assert type(twin) is type(model) and gates(twin) == gates(model)
    assert torch.equal(twin(x), model(x))
    assert not {id(weight) for weight in twin.parameters()} & {id(weight) for weight in model.parameters()}
    surgeon.remove(twin)
    assert gates(model) and not gates(twin)


READ = """
import sys, torch, surgeon
for model, x, y, paths in torch.load(sys.argv[1], weights_only=False):
    assert torch.equal(model(x), y), "another output"
    assert list(surgeon.attention_modules(model)) == paths, "other attention"
    surgeon.remove(model)
    assert not surgeon.attention_modules(model), "attention left"
"""


def test_whole_objects_into_a_fresh_process(tmp_path):
    saved = []
    for name in BUILDERS:
        model, x = operated(name, where=["residual", "final", "input"]), image(name)
        with torch.no_grad():
            saved.append((model, x, model(x), gates(model)))
    torch.save(saved, tmp_path / "models.pt")
    # As torch 2.6 leaves it to Python to do.
    cleans_up = "ignore:Implicitly cleaning up:ResourceWarning"
    command = [sys.executable, "-W", "error", "-W", cleans_up, "-c", READ, str(tmp_path / "models.pt")]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""


@networks
def test_stock_checkpoint(name):
    model = operated(name)
    missing, unexpected = model.load_state_dict(network(name).state_dict(), strict=False)
    inside = tuple(f"{path}." for path in gates(model))
    assert missing and all(key.startswith(inside) for key in missing)
    assert unexpected == []


@networks
def test_compile_in_one_graph(name):
    torch._dynamo.reset()
    model, x = operated(name), image(name)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)


@one_of_each
def test_export_with_any_batch(name):
    if name == "vit" and torch.__version__ < "2.7":
        pytest.skip("torch 2.6 follows no forward whose arguments are bound by its signature")
    model, dim = operated(name), torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(model, (image(name),), dynamic_shapes=({0: dim},)).module()
    x = image(name, batch=3)
    torch.testing.assert_close(program(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet", "convnext", "swin"])
@pytest.mark.parametrize("scale", [0.5, 1.5, 2])
def test_second_size(name, scale):
    model, stock, x = operated(name), network(name), image(name, scale=scale)
    with surgeon.disabled(model):
        assert torch.equal(model(x), stock(x))
    assert model(x).isfinite().all() and not torch.equal(model(x), stock(x))


def test_second_size_of_a_transformer_that_allows_it():
    model = timm.create_model("test_vit", dynamic_img_size=True).eval()
    x = torch.randn(1, 3, 96, 96)
    y = model(x)
    assert torch.equal(surgeon.inject(model, "cbam")(x), y)


@networks
def test_autocast(name):
    model, x = operated(name).train(), image(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x)
    y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16 and y.isfinite().all()
    assert all(
        weight.grad is not None and weight.grad.isfinite().all()
        for weight in surgeon.attention_parameters(model).values()
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@one_of_each
def test_other_precision_before_and_after(name, dtype):
    stock, x = network(name).to(dtype), image(name).to(dtype)
    before = surgeon.inject(copy.deepcopy(stock), "cbam")
    after = surgeon.inject(network(name), "cbam").to(dtype)
    assert all(weight.dtype == dtype for weight in surgeon.attention_parameters(before).values())
    with torch.no_grad():
        assert torch.equal(before(x), stock(x)) and torch.equal(after(x), stock(x))


@pytest.mark.parametrize("name", ["resnet", "convnext"])
def test_channels_last(name):
    stock = network(name).to(memory_format=torch.channels_last)
    x = image(name).to(memory_format=torch.channels_last)
    with torch.no_grad():
        y = stock(x)
        model = surgeon.inject(stock, "cbam")
        assert torch.equal(model(x), y)
    weight = next(w for w in surgeon.attention_parameters(model).values() if w.dim() == 4)
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.filterwarnings("ignore::surgeon.errors.UnusedSite")  # a class token alone is read behind some of the sites
@pytest.mark.parametrize("convert", [nn.SyncBatchNorm.convert_sync_batchnorm, timm.layers.convert_sync_batchnorm])
@pytest.mark.parametrize("where", ["residual", "final"])
@pytest.mark.parametrize("build", [resnet18, *timm_s("test_resnet", "mobilenetv3_small_050", "test_vit")])
def test_conversion_of_norms(build, where, convert):
    model = surgeon.inject(build(), "cbam", where=where)
    before, converted = gates(model), convert(model)
    assert gates(converted) == before and converted is model
    assert not any(type(module).__name__ == "BatchNorm2d" for module in model.modules())


# As older releases of timm call it.
@pytest.mark.filterwarnings("ignore:torch.utils.checkpoint. the use_reentrant parameter:UserWarning")
@pytest.mark.parametrize("build", timm_s("test_vit", "test_convnext", "test_resnet"))
def test_timm_s_own_methods(build):
    model = surgeon.inject(build(), "cbam", where=["residual", "final"])
    model.reset_classifier(7)
    model.set_grad_checkpointing(True)
    y = model.train()(torch.randn(2, 3, 160, 160))
    y.sum().backward()
    assert y.shape == (2, 7)
    assert all(weight.grad is not None for weight in surgeon.attention_parameters(model).values())
    assert model.get_classifier().out_features == 7


@pytest.mark.parametrize(("name", "node"), [("resnet", "layer3"), ("swin", "features.3")])
def test_feature_extractor_sees_attention(name, node):
    model, x = operated(name), image(name)
    cut = create_feature_extractor(model, {node: "map"})
    maps = []
    with model.get_submodule(node).register_forward_hook(lambda module, args, y: maps.append(y)), torch.no_grad():
        model(x)
        assert torch.equal(cut(x)["map"], maps[0])
        with surgeon.disabled(model):
            assert not torch.equal(cut(x)["map"], maps[0])


@one_of_each
def test_quick_training_lowers_the_loss(name):
    model, x = operated(name).train(), image(name)
    optimizer = torch.optim.Adam(surgeon.attention_parameters(model).values(), lr=0.02)
    losses = []
    for _ in range(4):
        torch.manual_seed(0)
        loss = nn.functional.cross_entropy(model(x), torch.tensor([0, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
