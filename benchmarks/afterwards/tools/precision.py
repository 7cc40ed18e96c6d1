"""Other dtypes and memory formats."""

import torch
import torch.nn.functional as F

from benchmarks.afterwards.registry import answers, learns
from benchmarks.afterwards.subject import train


def _answered(model, x):
    with torch.inference_mode():
        return model(x).clone()


@answers("inference_mode")
def inference_mode(model, x):
    return _answered(model, x)


@answers(".bfloat16()")
def bfloat16(model, x):
    return _answered(model.bfloat16(), x.bfloat16())


@answers(".half()")
def half(model, x):
    return _answered(model.half(), x.half())


@answers(".double()")
def double(model, x):
    return _answered(model.double(), x.double())


@answers("channels_last")
def channels_last(model, x):
    y = model.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    return y


@answers("autocast bf16, inference")
def autocast(model, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return _answered(model, x)


@learns("autocast bf16, training")
def autocast_training(model, batches):
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.1)
    for x, labels in batches:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()


@learns("autocast fp16 with GradScaler")
def scaled(model, batches):
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for x, labels in batches:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(model(x), labels)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()


@learns("training in bfloat16")
def pure_bfloat16(model, batches):
    model.bfloat16()
    # Steps that are not lost in the last of 8 bits.
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    train(model, [(x.bfloat16(), labels) for x, labels in batches], optimizer)
    model.float()


@learns("training in channels_last")
def channels_last_training(model, batches):
    like = {"memory_format": torch.channels_last}
    train(model.to(**like), [(x.contiguous(**like), labels) for x, labels in batches])


@learns("detect_anomaly, deterministic algorithms")
def anomaly(model, batches):
    torch.use_deterministic_algorithms(True)
    try:
        with torch.autograd.set_detect_anomaly(True):
            train(model, batches)
    finally:
        torch.use_deterministic_algorithms(False)
