"""The names that torch keeps for itself and that surgeon uses all the same: all of them, and here alone.

They are looked for as soon as surgeon works with torch: a release without one of them is told of in one line, and not
in the middle of an operation.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from surgeon.errors import lacking

if TYPE_CHECKING:
    from torch.optim import Optimizer

try:
    from torch._C import _are_functorch_transforms_active as is_transformed
    from torch._C import _dispatch_get_all_op_names as operator_names
    from torch._C import _len_torch_dispatch_stack as dispatch_modes
    from torch._C import _nn as functions_of_nn
    from torch._C._functorch import is_functorch_wrapped_tensor, is_legacy_batchedtensor
    from torch._ops import OpOverload
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx._symbolic_trace import _wrapped_fns_to_patch as wrapped_functions
    from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
    from torch.nn.modules.batchnorm import _NormBase as NormBase
    from torch.nn.modules.instancenorm import _InstanceNorm as InstanceNorm
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_map_only, tree_structure, tree_unflatten
except ImportError as error:
    raise lacking("torch", torch.__version__, str(error)) from None

# fmt: off
__all__ = [
    "is_transformed", "operator_names", "dispatch_modes", "functions_of_nn",
    "is_functorch_wrapped_tensor", "is_legacy_batchedtensor", "OpOverload", "FakeTensorMode",
    "wrapped_functions", "BatchNorm", "NormBase", "InstanceNorm", "TorchDispatchMode",
    "tree_flatten", "tree_leaves", "tree_map", "tree_map_only", "tree_structure", "tree_unflatten",
]
# fmt: on

# The attributes in which a module keeps its parts, and those in which it keeps its hooks.
CHILDREN, PARAMETERS, BUFFERS, UNSAVED = "_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
# Where a module looks, on the instance, before it goes its own way to be called; `nn.Module.compile` sets it.
COMPILED = "_compiled_call_impl"
# Under which a compiled model holds the one that it was made of.
ORIGINAL = "_orig_mod"
# How fx calls a tensor that it finds in a forward.
CONSTANT = "_tensor_constant"
# Who prints what happens inside of torch.
FAKE_LOG, EXPORT_LOGS = "torch._subclasses.fake_tensor", ("torch.onnx", "torch.export", "torch._export")
# The function of torch.nn.init that draws truncated normals.
TRUNCATED = "_no_grad_trunc_normal_"


def child_table(module: nn.Module) -> dict[str, nn.Module | None]:
    """The children of a module by name, in its own table."""
    return module._modules


def parameter_table(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """The parameters of a module itself by name, in its own table."""
    return module._parameters


def buffer_table(module: nn.Module) -> dict[str, Tensor | None]:
    """The buffers of a module itself by name, in its own table."""
    return module._buffers


def unsaved(module: nn.Module) -> set[str]:
    """The names of the buffers that no state dict holds."""
    return module._non_persistent_buffers_set


def has_hooks(module: nn.Module) -> bool:
    """Whether anything runs before or after the forward of a module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def plain_call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a call of a module comes to where nobody has compiled it: its forward, and its hooks around that."""
    return module._call_impl(*args, **kwargs)


def version(tensor: Tensor) -> int:
    """How often a tensor was written to."""
    return tensor._version


def operator_name(operator: OpOverload) -> str:
    """The name of an operator, such as `aten::conv2d`."""
    return operator._schema.name


def packet(operator: OpOverload) -> Any:
    """The operator of which `operator` is one overload."""
    return operator._overloadpacket


def is_compiled(module: object) -> bool:
    """Whether torch.compile made this. Who has compiled a model has imported the compiler, which takes seconds."""
    if "torch._dynamo" not in sys.modules:
        return False
    try:
        from torch._dynamo.eval_frame import OptimizedModule
    except ImportError as error:
        raise lacking("torch", torch.__version__, str(error)) from None
    return isinstance(module, OptimizedModule)


def takes_step_hooks(optimizer: Optimizer) -> bool:
    """Whether hooks can be put before the steps of an optimizer: wrappers of other libraries take none."""
    return "_optimizer_step_pre_hooks" in vars(optimizer)


def is_of_one_group(optimizer: Optimizer) -> bool:
    """Whether an optimizer steps its first group alone, whatever groups it is given (LBFGS)."""
    return getattr(optimizer, "_params", None) is optimizer.param_groups[0]["params"]


def _check() -> None:
    """Say which of the names that are no imports this torch does not have."""
    held = {nn.Module(): (CHILDREN, PARAMETERS, BUFFERS, UNSAVED, *HOOKS, "_call_impl"), nn.Module: (COMPILED,)}
    others: dict[Any, tuple[str, ...]] = {Tensor: ("_version",), nn.init: (TRUNCATED,)}
    for thing, names in (held | others).items():
        for name in names:
            if not hasattr(thing, name):
                raise lacking("torch", torch.__version__, f"{getattr(thing, '__name__', 'Module')} has no {name}")


_check()
