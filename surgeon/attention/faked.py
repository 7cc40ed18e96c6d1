"""A module's run on fake tensors: what it does to a map's shape, dtype and device, without weights or arithmetic."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from surgeon.attention.options import reason
from surgeon.errors import BadModule
from surgeon.outside.process import shared
from surgeon.outside.torch import FAKE_LOG, FakeTensorMode, version

# It prints the traceback of an operator that failed; here that is one line of an error, or nothing.
log = logging.getLogger(FAKE_LOG)


def runs(module: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether `module`, on its own, keeps a map of `shape` (N, C, *spatial)."""
    try:
        # A copy: some modules keep what they computed for a shape, and here it would be fake.
        check(deepcopy(module), shape, torch.float32, "cpu")
    except (BadModule, RuntimeError, TypeError):
        return False
    return True


def check(module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, device: str | torch.device) -> None:
    """Run `module`; a BadModule if it can't, or if it does not keep its map."""
    name = type(module).__name__
    x, y = _run(module, shape, dtype, device)
    if version(x):
        raise BadModule(f"{name} changes its input in place; the network may still need it.")
    if not isinstance(y, Tensor):
        raise BadModule(f"{name} returns a {type(y).__name__}, not a map.")
    kept = (("shape", shape, tuple(y.shape)), ("dtype", dtype, y.dtype), ("device", x.device, y.device))
    for what, old, new in kept:
        if old != new:
            raise BadModule(f"{name} changes the {what}: {_text(old)} in, {_text(new)} out. Attention has to keep it.")


def _run(
    module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, device: str | torch.device
) -> tuple[Tensor, object]:
    """A fake map, and what `module` makes of it."""
    try:
        with shared(_unlogged), _evaluating(module), FakeTensorMode(), torch.device(device), torch.no_grad():
            x = torch.empty(shape, dtype=dtype, device=device)
            return x, functional_call(module, _fake_state(module, dtype, device), (x,))
    except Exception as error:
        name = type(module).__name__
        raise BadModule(f"{name} does not run on a map of {_text(shape)}: {reason(error)}") from error


@contextmanager
def _unlogged() -> Iterator[None]:
    was_disabled = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = was_disabled


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Inside, `module` is in eval mode; afterwards each of its parts is in its own mode again."""
    modes = {part: part.training for part in module.modules()}
    try:
        module.eval()
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _fake_state(module: nn.Module, dtype: torch.dtype, device: str | torch.device) -> dict[str, Tensor]:
    """Empty parameters and buffers for `module`, its floating-point ones in `dtype`."""
    state: dict[str, Tensor] = dict(module.named_parameters()) | dict(module.named_buffers())
    dtypes = {key: dtype if old.is_floating_point() else old.dtype for key, old in state.items()}
    return {key: torch.empty(old.shape, dtype=dtypes[key], device=device) for key, old in state.items()}


def _text(value: Any) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)
