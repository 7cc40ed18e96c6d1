"""What a gate does to a map, and what it costs, found on fake tensors: no weights, no arithmetic."""

import logging
from copy import deepcopy

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from surgeon.attention.options import reason
from surgeon.errors import BadModule

# It prints the traceback of an operator that failed; here that is one line of an error, or nothing.
log = logging.getLogger("torch._subclasses.fake_tensor")


def probe(gate, shape, dtype=torch.float32, *, device="cpu"):
    """Check that `gate` keeps shape, dtype and device of a map of `shape` (N, C, *spatial).

    Raises:
        BadModule: it does not, or it does not run.
    """
    _faked(gate, tuple(shape), dtype, device)


def runs(module, shape):
    """Whether `module`, on its own, keeps a map of `shape` (N, C, *spatial)."""
    try:
        # A copy: some modules keep what they computed for a shape, and here it would be fake.
        _faked(deepcopy(module), tuple(shape), torch.float32, "cpu")
    except (BadModule, RuntimeError, TypeError):
        return False
    return True


def cost(gate, shape):
    """What `gate` costs on one image of `shape` (C, *spatial): weights, and multiply-adds.

    Multiply-adds are those of convolutions and linear layers, as the papers count; an MLP that runs twice
    counts twice.

    >>> cost(build("se", 256, init="paper"), (256, 56, 56))
    (8464, 8192)
    """
    with FlopCounterMode(display=False) as counter:
        if _is_shape_only(gate):
            with torch.no_grad():
                gate.attend(torch.empty(1, *shape, device="meta"))
        else:
            _faked(gate, (1, *shape), torch.float32, "cpu")
    return sum(weight.numel() for weight in gate.parameters()), counter.get_total_flops() // 2


def _is_shape_only(gate):
    """True for a gate of surgeon's own on meta: it runs as it is, and is known to keep its input's shape."""
    return not hasattr(gate, "given") and all(weight.is_meta for weight in gate.parameters())


def _faked(gate, shape, dtype, device):
    # What a user's module does is told as it is, before the gate around it adds x and y of two shapes.
    module, shape = _inside(gate, shape)
    name = type(module).__name__
    x, y = _run(module, name, shape, dtype, device)
    if x._version:
        raise BadModule(f"{name} changes its input in place; the network may still need it.")
    if not isinstance(y, torch.Tensor):
        raise BadModule(f"{name} returns a {type(y).__name__}, not a map.")
    for what, old, new in (("shape", shape, tuple(y.shape)), ("dtype", dtype, y.dtype), ("device", x.device, y.device)):
        if old != new:
            raise BadModule(f"{name} changes the {what}: {_text(old)} in, {_text(new)} out. Attention has to keep it.")


def _inside(gate, shape):
    """The module that does the work, and the shape of the map that it is given."""
    if not hasattr(gate, "given"):
        return gate, shape
    return gate.inner, tuple(gate.given(torch.empty(shape, device="meta")).shape)


def _run(module, name, shape, dtype, device):
    modes = {each: each.training for each in module.modules()}
    log.disabled, was_disabled = True, log.disabled
    try:
        with FakeTensorMode(), torch.device(device), torch.no_grad():
            x = torch.empty(shape, dtype=dtype, device=device)
            return x, functional_call(module.eval(), _fake_state(module, dtype, device), (x,))
    except Exception as error:
        raise BadModule(f"{name} does not run on a map of {_text(shape)}: {reason(error)}") from error
    finally:
        log.disabled = was_disabled
        for each, training in modes.items():
            each.training = training


def _fake_state(module, dtype, device):
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    of = lambda old: dtype if old.is_floating_point() else old.dtype
    return {key: torch.empty(old.shape, dtype=of(old), device=device) for key, old in state.items()}


def _text(value):
    return " x ".join(map(str, value)) if isinstance(value, tuple | torch.Size) else str(value)
