"""The same as finetune.py by accelerate: accelerate launch examples/finetune_accelerate.py [FILE] [--data DATA] [--output FOLDER].

What `accelerate config` says is left to it: devices, DDP, precision. Give the same command again after a kill, and it goes on
from the last epoch.
"""

import torch
import torch.nn.functional as F
from accelerate import Accelerator, DistributedDataParallelKwargs
from finetune import NORMS, options
from finetune_data import check_head, images, network
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

import surgeon


def train(args):
    # Which weights learn changes after the warm-up.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    precision = {"fp32": "no"}.get(args.precision, args.precision)
    accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=[unused])
    torch.manual_seed(args.seed)
    net = network(args.source)
    training, judging, classes = images(args.data, args.size)
    check_head(net, judging, classes, args.source, args.data)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(args.average), use_buffers=True).to(
        accelerator.device
    )
    groups = surgeon.param_groups(net, lr=args.lr, weight_decay=args.weight_decay)
    share = args.batch // accelerator.num_processes
    called, optimizer, batches, tests = accelerator.prepare(
        net,
        torch.optim.AdamW(groups),
        DataLoader(training, share, shuffle=True, drop_last=True, num_workers=args.workers),
        DataLoader(judging, share, num_workers=args.workers),
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(batches))
    accelerator.register_for_checkpointing(schedule, average)
    state, done = args.output / "state", 0
    if state.exists():
        accelerator.load_state(state)
        done = schedule.last_epoch // len(batches)
    for epoch in range(done, args.epochs):
        called.train()
        for module in net.modules():
            if isinstance(module, NORMS):
                module.eval()
        net.requires_grad_(True)
        if epoch < args.warm_up:
            surgeon.freeze(net, head=True)
        for pixels, labels in batches:
            with accelerator.autocast():
                loss = F.cross_entropy(called(pixels), labels)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            average.update_parameters(net)
        accelerator.print(
            f"epoch {epoch + 1}/{args.epochs}  loss {loss:.4f}  accuracy {accuracy(average, tests, accelerator):.4f}"
        )
        accelerator.save_state(state)
    if accelerator.is_main_process:
        surgeon.save(average, args.output / "tuned.safetensors")
    accelerator.end_training()


@torch.no_grad()
def accuracy(model, batches, accelerator):
    """The share of the images that the network names right."""
    named = [accelerator.gather_for_metrics(model.eval()(pixels).argmax(1) == labels) for pixels, labels in batches]
    return torch.cat(named).float().mean().item()


if __name__ == "__main__":
    train(options())
