"""What training tools put around a network, taken off for a file: the network itself is what is saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from surgeon.attention import attention_modules
from surgeon.errors import BadModel, SurgeonError
from surgeon.networks import identify
from surgeon.outside.torch import COMPILED, ORIGINAL, is_compiled

Model = TypeVar("Model", bound=nn.Module)

# Each only calls what it holds; their weights are the same tensors.
_HOLDERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
# Where accelerate keeps the forward that it wraps with mixed precision.
_ORIGINAL = "_original_forward"


def unwrapped(model: nn.Module) -> nn.Module:
    """The network in the wrappers of torch and accelerate; `model` itself where there are none.

    Raises:
        BadModel: a part of it is wrapped, which can't be taken off without changing the model.
    """
    if not isinstance(model, nn.Module):
        raise BadModel(f"{type(model).__name__} is no nn.Module: pass the network itself.")
    while isinstance(model, _HOLDERS) or is_compiled(model):
        model = model.module if isinstance(model, _HOLDERS) else getattr(model, ORIGINAL)
    for path, module in model.named_modules():
        if is_compiled(module):
            raise BadModel(
                f"{path!r} is a compiled model, under whose name no file finds its weights: "
                f"model.{path} = model.{path}._orig_mod, then surgeon.save(model, ...)."
            )
    return _with_own_forward(model) if _ORIGINAL in vars(model) else model


def _with_own_forward(model: Model) -> Model:
    """The same modules and tensors under an object without the forward that was put in front of the model's own."""
    bare = object.__new__(type(model))
    vars(bare).update(vars(model))
    forward = vars(bare).pop(_ORIGINAL)
    vars(bare).pop("forward", None)
    if not (isinstance(forward, MethodType) and forward.__func__ is type(model).forward):
        vars(bare)["forward"] = forward
    return bare


@contextmanager
def eager(model: nn.Module) -> Iterator[None]:
    """Inside, what `model.compile()` has compiled runs as it is written, to the bit."""
    if not any(COMPILED in vars(module) for module in model.modules()):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def held(model: nn.Module) -> str | None:
    """The path of the library's network that `model` holds (a LightningModule's `net`); None where it holds none."""
    gates = list(attention_modules(model))
    path, module = "", model
    while gates:
        first = gates[0].removeprefix(f"{path}.").partition(".")[0]
        path = f"{path}.{first}".lstrip(".")
        if path in gates or not all(gate.startswith(f"{path}.") for gate in gates):
            return None
        module = model.get_submodule(path)
        try:
            identify.infer(module)
            return path
        except SurgeonError:
            continue
    return None


def expression(path: str) -> str:
    """What to write for a module of `model`: `model.net`, `model.parts[0]`."""
    steps = (f"[{name}]" if name.isdigit() else f".{name}" for name in path.split("."))
    return f"model{''.join(steps)}"
