"""Eight bits and fewer."""

import torch
from torch import nn

from benchmarks.afterwards.registry import acts, answers, learns
from benchmarks.afterwards.subject import images, train


@answers("quantize_dynamic")
def dynamic(model, x):
    from torch.ao.quantization import quantize_dynamic

    return quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)(x)


@answers("fx: prepare_fx, convert_fx")
def fx_static(model, x):
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    torch.backends.quantized.engine = "fbgemm"
    prepared = prepare_fx(model, get_default_qconfig_mapping("fbgemm"), (x,))
    for seed in range(4):
        prepared(images(seed))
    return convert_fx(prepared)(x)


@acts("fx: quantization-aware training")
def fx_aware(model, x):
    from torch.ao.quantization import get_default_qat_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_qat_fx

    torch.backends.quantized.engine = "fbgemm"
    prepared = prepare_qat_fx(model.train(), get_default_qat_qconfig_mapping("fbgemm"), (x,))
    train(prepared, [(x, torch.arange(4))])
    return convert_fx(prepared.eval())(x)


@answers("eager: prepare, convert, without fusing")
def eager_static(model, x):
    from torch.ao.quantization import QuantWrapper, convert, get_default_qconfig, prepare

    torch.backends.quantized.engine = "fbgemm"
    wrapped = QuantWrapper(model)
    wrapped.qconfig = get_default_qconfig("fbgemm")
    prepared = prepare(wrapped)
    prepared(x)
    return convert(prepared)(x)


def _exported_for_quantization(model, x, *, aware=False):
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e, prepare_qat_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config(is_qat=aware))
    program = torch.export.export(model, (x,)).module()
    return (prepare_qat_pt2e if aware else prepare_pt2e)(program, quantizer)


@answers("PT2E (x86)", needs=["torchao"])
def pt2e(model, x):
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    prepared = _exported_for_quantization(model, x)
    prepared(x)
    return convert_pt2e(prepared)(x)


@acts("PT2E (x86), quantization-aware", needs=["torchao"])
def pt2e_aware(model, x):
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    prepared = _exported_for_quantization(model.train(), x, aware=True)
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.01)
    torch.nn.functional.cross_entropy(prepared(x), torch.arange(4)).backward()
    optimizer.step()
    return convert_pt2e(move_exported_model_to_eval(prepared))(x)


def _torchao(model, x, config, **where):
    from torchao.quantization import quantize_

    quantize_(model, config, **where)
    with torch.no_grad():
        return model(x)


@answers("torchao: Int8WeightOnlyConfig", needs=["torchao"])
def int8_weights(model, x):
    from torchao.quantization import Int8WeightOnlyConfig

    return _torchao(model, x, Int8WeightOnlyConfig())


@answers("torchao: Int8DynamicActivationInt8WeightConfig", needs=["torchao"])
def int8_dynamic(model, x):
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    return _torchao(model, x, Int8DynamicActivationInt8WeightConfig())


@answers("torchao: Float8WeightOnlyConfig", needs=["torchao"])
def float8_weights(model, x):
    from torchao.quantization import Float8WeightOnlyConfig

    return _torchao(model, x, Float8WeightOnlyConfig())


@learns("torchao: AdamW8bit", needs=["torchao"])
def adamw8(model, batches):
    from torchao.optim import AdamW8bit

    train(model, batches, AdamW8bit(model.parameters(), lr=1e-2))


@answers("fake_quantize of every weight")
def fake(model, x):
    for weight in model.parameters():
        if weight.dim() > 1:
            scale = weight.detach().abs().max().item() / 127
            weight.data = torch.fake_quantize_per_tensor_affine(weight.detach(), scale, 0, -128, 127)
    return model(x)
