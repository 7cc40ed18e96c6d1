"""What an operation must leave as it was, photographed before and compared after."""

from dataclasses import dataclass

from surgeon.errors import CheckFailed

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


@dataclass(frozen=True)
class Snapshot:
    """All tensors by key, all modules by path, with everything about them that must not change."""

    tensors: dict
    modules: dict


def snapshot(model):
    """The state of `model` before an operation; holds references, copies nothing."""
    tensors = {key: (tensor, _about(tensor)) for key, tensor in _state(model)}
    modules = {path: (module, module.training, _hooks(module)) for path, module in model.named_modules(remove_duplicate=False)}
    return Snapshot(tensors, modules)


def _state(model):
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _about(tensor):
    return tensor.dtype, tensor.device, tensor.shape, tensor.stride(), tensor.requires_grad, tensor._version


def _hooks(module):
    return tuple(tuple(getattr(module, name).values()) for name in _HOOKS)


def same_as_before(model, before):
    """Every old key is there, in order, with the same tensor object; so is every module, mode and hook.

    Raises:
        CheckFailed: with the first difference.
    """
    now = dict(_state(model))
    kept = [key for key in now if key in before.tensors]
    if kept != list(before.tensors):
        missing = next((key for key in before.tensors if key not in now), None)
        raise CheckFailed(f"weight {missing!r} is gone." if missing else "the weights are in another order than before.")
    for key, (tensor, about) in before.tensors.items():
        if now[key] is not tensor or _about(tensor) != about:
            raise CheckFailed(f"weight {key!r} is not the tensor that it was.")
    modules = dict(model.named_modules(remove_duplicate=False))
    for path, (module, training, hooks) in before.modules.items():
        if modules.get(path) is not module or module.training != training or _hooks(module) != hooks:
            raise CheckFailed(f"module {path!r} is not the one that it was, or not in its mode, or lost a hook.")
