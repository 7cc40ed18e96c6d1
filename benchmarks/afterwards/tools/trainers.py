"""Loops of training, and the optimizers that come with libraries."""

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from benchmarks.afterwards.registry import learns
from benchmarks.afterwards.subject import train


@learns("torch.optim.SGD")
def sgd(model, batches):
    train(model, batches, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4))


@learns("torch.optim.AdamW (foreach)")
def adamw(model, batches):
    train(model, batches, torch.optim.AdamW(model.parameters(), lr=1e-2, foreach=True))


@learns("torch.optim.AdamW (fused)")
def adamw_fused(model, batches):
    train(model, batches, torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True))


@learns("torch.optim.LBFGS", coupled=True)
def lbfgs(model, batches):
    optimizer = torch.optim.LBFGS(model.train().parameters(), lr=0.5, max_iter=5)
    for x, labels in batches:

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)  # noqa: B023
            loss.backward()
            return loss

        optimizer.step(closure)


@learns("clip_grad_norm_", coupled=True)
def clipped(model, batches):
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.1)
    for x, labels in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()


@learns("gradients summed over parts of a batch")
def accumulated(model, batches):
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.1)
    for images, labels in batches:
        for part in zip(images.chunk(2), labels.chunk(2)):
            (F.cross_entropy(model(part[0]), part[1]) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()


@learns("optimizer step in the backward pass")
def in_backward(model, batches):
    optimizers = {weight: torch.optim.SGD([weight], lr=0.1) for weight in model.train().parameters()}

    def update(weight):
        optimizers[weight].step()
        optimizers[weight].zero_grad()

    for weight in optimizers:
        weight.register_post_accumulate_grad_hook(update)
    for x, labels in batches:
        F.cross_entropy(model(x), labels).backward()


@learns("timm: create_optimizer_v2, cosine schedule")
def timm_optimizer(model, batches):
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler

    optimizer = create_optimizer_v2(model.train(), opt="adamw", lr=1e-2, weight_decay=0.05, filter_bias_and_bn=True)
    schedule = CosineLRScheduler(optimizer, t_initial=10)
    for epoch, batch in enumerate(batches):
        train(model, [batch], optimizer)
        schedule.step(epoch)


@learns("timm: layer decay")
def timm_layer_decay(model, batches):
    from timm.optim import create_optimizer_v2

    train(model, batches, create_optimizer_v2(model, opt="sgd", lr=0.1, weight_decay=0.05, layer_decay=0.75))


@learns("timm: NativeScaler, adaptive clipping, mixup")
def timm_script(model, batches):
    from timm.data import Mixup
    from timm.loss import SoftTargetCrossEntropy
    from timm.utils import NativeScaler

    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.1)
    scaler, mixup, loss = NativeScaler(device="cpu"), Mixup(mixup_alpha=0.2, num_classes=10), SoftTargetCrossEntropy()
    for x, labels in batches:
        optimizer.zero_grad()
        x, targets = mixup(x.clone(), labels)
        scaler(loss(model(x), targets), optimizer, clip_grad=0.02, clip_mode="agc", parameters=model.parameters())


@learns("torchvision references: set_weight_decay")
def torchvision_groups(model, batches):
    from torchvision.ops._utils import split_normalization_params

    norms, others = split_normalization_params(model)
    groups = [{"params": norms, "weight_decay": 0.0}, {"params": others, "weight_decay": 1e-4}]
    train(model, batches, torch.optim.SGD(groups, lr=0.1))


@learns("Lightning Trainer", needs=["lightning"])
def lightning(model, batches):
    from lightning.pytorch import LightningModule, Trainer

    class Task(LightningModule):
        def __init__(self):
            super().__init__()
            self.net = model

        def training_step(self, batch, index):
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    model.train()
    Trainer(max_epochs=1, accelerator="cpu", devices=1, enable_model_summary=False, **quiet).fit(
        Task(), DataLoader(batches, batch_size=None)
    )


@learns("accelerate", needs=["accelerate"])
def accelerate(model, batches):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.1)
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(batches, batch_size=None))
    for x, labels in loader:
        optimizer.zero_grad()
        accelerator.backward(F.cross_entropy(wrapped(x), labels))
        optimizer.step()
    return accelerator.unwrap_model(wrapped)


# It clips the norm of all gradients together, unless it is told not to.
@learns("transformers Trainer", needs=["transformers", "accelerate"], coupled=True)
def transformers_trainer(model, batches):
    from tempfile import TemporaryDirectory

    from transformers import Trainer, TrainingArguments

    class Labelled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, pixel_values, labels):
            logits = self.net(pixel_values)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    examples = [{"pixel_values": x, "labels": label} for xs, labels in batches for x, label in zip(xs, labels)]
    with TemporaryDirectory() as folder:
        quiet = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no"}
        arguments = TrainingArguments(
            folder, use_cpu=True, per_device_train_batch_size=4, num_train_epochs=1, learning_rate=1e-2,
            warmup_steps=0, seed=0, **quiet,
        )  # fmt: skip
        Trainer(Labelled(), arguments, train_dataset=examples).train()
