"""What can't be operated on as it is handed over: wrappers, compiled and scripted models, models without weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from surgeon.errors import BadModel
from surgeon.outside.torch import COMPILED, is_compiled


def refuse_wrapped(model: Any) -> None:
    """Refuse what is no module of the user's own, and say what to pass instead."""
    if not isinstance(model, nn.Module):
        raise BadModel(f"{type(model).__name__} is no nn.Module: pass the network itself.")
    kind = type(model).__name__
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise BadModel(f"{kind} is a wrapper: operate on model.module, and wrap it afterwards.")
    if is_compiled(model):
        raise BadModel("this is a compiled model: operate on model._orig_mod, and compile it afterwards.")
    if getattr(model, COMPILED, None) is not None:
        raise BadModel("this model was compiled in place: operate first, and call model.compile() afterwards.")
    if isinstance(model, torch.jit.ScriptModule):
        raise BadModel(
            f"{kind} is scripted, its forward can't be changed: operate on the model before torch.jit.script."
        )
    if isinstance(model, torch.fx.GraphModule):
        raise BadModel("this is a torch.fx GraphModule: operate on the model that it was traced from.")
    compiled = next((path for path, module in model.named_modules() if is_compiled(module)), None)
    if compiled is not None:
        raise BadModel(f"{compiled!r} is a compiled model: put its _orig_mod there, and compile it afterwards.")
    lazy = next((path for path, module in model.named_modules() if _is_lazy(module)), None)
    if lazy is not None:
        raise BadModel(f"{lazy!r} is lazy and has no weights yet: run the model once on an image first.")
    frozen = next((name for name, weight in model.named_parameters() if weight.is_inference()), None)
    if frozen is not None:
        raise BadModel(
            f"{frozen!r} was made under torch.inference_mode() and can never be trained: build the model outside of it."
        )


def _is_lazy(module: Any) -> bool:
    """True for a module that will only know the shapes of its weights when it has run."""
    is_lazy_class = isinstance(module, nn.modules.lazy.LazyModuleMixin)
    return is_lazy_class and module.has_uninitialized_params()
