"""Batch norms' statistics, measured anew where what comes before them has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from surgeon.errors import BadInput, BadModel
from surgeon.outside.torch import BatchNorm

Model = TypeVar("Model", bound=nn.Module)


def recalibrate(model: Model, batches: Iterable[Any]) -> Model:
    """Measure the running statistics of the batch norms in `model` anew, on `batches`; returns `model`.

    Attention that starts as published (`init="paper"`) makes maps smaller than those that the statistics behind it
    were measured on, which costs the network more of its accuracy than the attention itself. No weight changes, and all
    but the batch norms runs as in eval mode. Each mean is the mean over the batches, each of which counts the same.

    Args:
        batches: as a DataLoader gives them: tensors of (N, C, *spatial), sequences that begin with one (images,
            labels), or dicts of the network's keywords. A few dozen training batches will do.

    Raises:
        BadModel: no batch norm that keeps statistics. BadInput: no batch. Whatever is raised, the statistics are as
            they were.

    >>> surgeon.inject(model, "cbam", init="paper")
    >>> model = surgeon.recalibrate(model, [images])
    """
    norms = [norm for norm in model.modules() if isinstance(norm, BatchNorm) and norm.running_mean is not None]
    if not norms:
        raise BadModel(
            f"this {type(model).__name__} has no batch norm with statistics: nothing is to be measured anew."
        )
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers(recurse=False)} for norm in norms]
    try:
        with _measuring(model, norms), torch.no_grad():
            count = sum(_ran(model, batch) for batch in batches)
        if not count:
            raise BadInput("there was no batch to measure the statistics on: an iterator that was read before?")
    except BaseException:
        for norm, buffers in zip(norms, before):
            for name, buffer in buffers.items():
                norm.get_buffer(name).copy_(buffer)
        raise
    return model


@contextmanager
def _measuring(model: nn.Module, norms: Iterable[BatchNorm]) -> Iterator[None]:
    """Inside, `norms` alone are in train mode, and each of their statistics is a mean over all calls."""
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    try:
        model.eval()
        for norm in momenta:
            norm.reset_running_stats()
            norm.training, norm.momentum = True, None
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for norm, momentum in momenta.items():
            norm.momentum = momentum


def _ran(model: nn.Module, batch: Any) -> bool:
    """Run `model` on a batch, where its weights are."""
    device = next(model.parameters()).device
    if isinstance(batch, Mapping):
        model(**{name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()})
    else:
        images: Tensor = batch[0] if isinstance(batch, list | tuple) else batch
        model(images.to(device))
    return True
