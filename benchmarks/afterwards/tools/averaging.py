"""Weights averaged over the steps of training."""

import torch
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

from benchmarks.afterwards.registry import answers, learns
from benchmarks.afterwards.subject import batches as fresh_batches
from benchmarks.afterwards.subject import train


@learns("timm: ModelEmaV3")
def timm_ema(model, batches):
    from timm.utils import ModelEmaV3

    average = ModelEmaV3(model, decay=0.5)
    for number, batch in enumerate(batches):
        train(model, [batch])
        average.update(model, step=number)
    return average.module


@learns("AveragedModel (EMA)")
def ema(model, batches):
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    average.update_parameters(model)
    for batch in batches:
        train(model, [batch])
        average.update_parameters(model)
    return average.module


@learns("SWA with update_bn")
def swa(model, batches):
    average = AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rates = SWALR(optimizer, swa_lr=0.05)
    for batch in batches:
        train(model, [batch], optimizer)
        average.update_parameters(model)
        rates.step()
    update_bn(batches, average)
    return average.module


@answers("timm: ModelEmaV3 of weights that stay")
def same_ema(model, x):
    from timm.utils import ModelEmaV3

    average = ModelEmaV3(model)
    average.update(model, step=1)
    return average(x)


@answers("AveragedModel, update_bn, state_dict")
def averaged_state(model, x):
    average = AveragedModel(model)
    average.update_parameters(model)
    state = {name.removeprefix("module."): value for name, value in average.state_dict().items()}
    state.pop("n_averaged")
    train(model, fresh_batches(1))
    model.load_state_dict(state)
    return model(x)
