"""Compilers, and files for other runtimes."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.afterwards.registry import answers, learns
from benchmarks.afterwards.subject import train


@answers("torch.compile (aot_eager, fullgraph)")
def compiled(model, x):
    torch.compiler.reset()
    return torch.compile(model, backend="aot_eager", fullgraph=True)(x)


@answers("torch.compile (inductor)")
def inductor(model, x):
    torch.compiler.reset()
    with torch.no_grad():
        return torch.compile(model, fullgraph=True)(x)


@answers("torch.compile (dynamic=True)")
def compiled_dynamic(model, x):
    torch.compiler.reset()
    function = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=True)
    function(x[:2])
    return function(x)


@learns("torch.compile, training")
def compiled_training(model, batches):
    torch.compiler.reset()
    train(torch.compile(model, backend="aot_eager", fullgraph=True), batches)


@learns("module.compile(), training")
def compiled_in_place(model, batches):
    torch.compiler.reset()
    model.compile(backend="aot_eager")
    train(model, batches)


@learns("compiled step with autocast bf16")
def compiled_autocast(model, batches):
    torch.compiler.reset()
    function = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        train(function, batches)


@answers("torch.export")
def exported(model, x):
    return torch.export.export(model, (x,)).module()(x)


@answers("torch.export, strict")
def exported_strictly(model, x):
    return torch.export.export(model, (x,), strict=True).module()(x)


@answers("torch.export, any batch and size")
def exported_dynamically(model, x):
    from torch.export import Dim

    shapes = ({0: Dim("batch", min=2, max=16), 2: Dim.AUTO, 3: Dim.AUTO},)
    # Height and width differ, and no stage makes 1 of them: either would be taken for a length that is fixed.
    return torch.export.export(model, (torch.zeros(3, 3, 96, 128),), dynamic_shapes=shapes).module()(x)


@answers("torch.export saved, loaded, decomposed")
def exported_file(model, x):
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, (x,)), file)
    file.seek(0)
    return torch.export.load(file).run_decompositions().module()(x)


@learns("torch.export, trained further")
def exported_training(model, batches):
    program = torch.export.export(model.train(), (batches[0][0],)).module()
    optimizer = torch.optim.SGD(program.parameters(), lr=0.1)
    for x, labels in batches:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(program(x), labels).backward()
        optimizer.step()
    return dict(program.named_parameters())


@answers("torch.jit.trace")
def traced(model, x):
    return torch.jit.trace(model, x)(x)


@answers("torch.jit.trace in half precision, saved")
def traced_half(model, x):
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(model.half(), x.half(), check_trace=False), file)
    file.seek(0)
    return torch.jit.load(file)(x.half())


@answers("torch.jit.trace, frozen, optimize_for_inference")
def frozen(model, x):
    return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, x)))(x)


@answers("torch.jit.script")
def scripted(model, x):
    return torch.jit.script(model)(x)


@answers("torch.fx.symbolic_trace")
def symbolic(model, x):
    return torch.fx.symbolic_trace(model)(x)


@answers("make_fx")
def made_fx(model, x):
    from torch.fx.experimental.proxy_tensor import make_fx

    with torch.no_grad():
        return make_fx(model)(x)(x)


def _run_onnx(path, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@answers("ONNX (dynamo), onnxruntime", needs=["onnxscript", "onnxruntime"])
def onnx_new(model, x):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(model, (x,), path, dynamo=True, verbose=False)
        return _run_onnx(path, x)


@answers("ONNX (TorchScript), onnxruntime", needs=["onnx", "onnxruntime"])
def onnx_old(model, x):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(model, (x,), str(path), dynamo=False)
        return _run_onnx(path, x)


@answers("AOTInductor")
def aot_inductor(model, x):
    with TemporaryDirectory() as folder, torch.no_grad():
        path = str(Path(folder) / "model.pt2")
        torch._inductor.aoti_compile_and_package(torch.export.export(model, (x,)), package_path=path)
        return torch._inductor.aoti_load_package(path)(x)
