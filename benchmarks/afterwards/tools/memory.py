"""Less memory: activations computed again or kept elsewhere, weights kept elsewhere."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from benchmarks.afterwards.registry import answers, learns
from benchmarks.afterwards.subject import train

STAGES = ("layer1", "layer2", "layer3", "layer4")


class _Checkpointed(nn.Module):
    def __init__(self, module, **options):
        super().__init__()
        self.module, self.options = module, options

    def forward(self, x):
        return checkpoint(self.module, x, **self.options)


def _with_checkpoints(model, batches, **options):
    inside = {name: getattr(model, name) for name in STAGES}
    for name, stage in inside.items():
        setattr(model, name, _Checkpointed(stage, **options))
    train(model, batches)
    for name, stage in inside.items():
        setattr(model, name, stage)


@learns("torch.utils.checkpoint (use_reentrant=False)")
def checkpointed(model, batches):
    _with_checkpoints(model, batches, use_reentrant=False)


@learns("torch.utils.checkpoint (reentrant)")
def reentrant(model, batches):
    _with_checkpoints(model, batches, use_reentrant=True)


@learns("checkpoint_sequential")
def sequential(model, batches):
    whole = nn.Sequential(*model.children())
    train(lambda_module(lambda x: checkpoint_sequential(whole, 3, x, use_reentrant=False), whole), batches)


def lambda_module(function, inside):
    """A network of one function, with the weights of `inside`."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = inside

        def forward(self, x):
            return function(x)

    return Network()


@learns("selective checkpoint policy")
def selective(model, batches):
    from functools import partial

    from torch.utils.checkpoint import create_selective_checkpoint_contexts

    kept = [torch.ops.aten.convolution.default, torch.ops.aten.addmm.default]
    contexts = partial(create_selective_checkpoint_contexts, kept)
    _with_checkpoints(model, batches, use_reentrant=False, context_fn=contexts)


@learns("checkpoint_wrapper of torch.distributed")
def wrapper(model, batches):
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

    apply_activation_checkpointing(model, check_fn=lambda module: type(module).__name__ in ("BasicBlock", "Bottleneck"))
    train(model, batches)
    return {name.replace("_checkpoint_wrapped_module.", ""): weight for name, weight in model.named_parameters()}


@learns("timm: set_grad_checkpointing")
def timm_checkpointing(model, batches):
    model.set_grad_checkpointing(True)
    train(model, batches)


@learns("save_on_cpu")
def on_cpu(model, batches):
    with torch.autograd.graph.save_on_cpu():
        train(model, batches)


@learns("saved_tensors_hooks that pack to disk")
def on_disk(model, batches):
    import io

    def pack(tensor):
        file = io.BytesIO()
        torch.save(tensor.detach().clone(), file)
        return file.getvalue()

    def unpack(packed):
        return torch.load(io.BytesIO(packed))

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        train(model, batches)


@answers("accelerate: cpu_offload", needs=["accelerate"])
def offloaded(model, x):
    from accelerate import cpu_offload

    return cpu_offload(model, execution_device=torch.device("cpu"))(x)


@answers("accelerate: cpu_offload with offload_buffers", needs=["accelerate"])
def offloaded_with_buffers(model, x):
    from accelerate import cpu_offload

    return cpu_offload(model, execution_device=torch.device("cpu"), offload_buffers=True)(x)


@answers("accelerate: disk_offload", needs=["accelerate"])
def offloaded_to_disk(model, x):
    from tempfile import TemporaryDirectory

    from accelerate import disk_offload

    with TemporaryDirectory() as folder:
        return disk_offload(model, folder, execution_device=torch.device("cpu"))(x)


@answers("accelerate: load_checkpoint_and_dispatch", needs=["accelerate"])
def dispatched(model, x):
    import copy
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from accelerate import load_checkpoint_and_dispatch
    from safetensors.torch import save_file

    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(model.state_dict(), path)
        empty = copy.deepcopy(model).to("meta")
        return load_checkpoint_and_dispatch(empty, str(path), device_map={"": "cpu"})(x)
