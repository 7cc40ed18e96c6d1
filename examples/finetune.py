"""Fine-tune a network with attention: gates and head first, then all of it. One process, or many by torchrun.

    python examples/finetune.py                                          # the digits on board: two minutes on two cores
    surgeon inject timm:resnet50 --pretrained --attention cbam --num-classes 10 --output cbam.safetensors
    python examples/finetune.py cbam.safetensors --data /data/cifar --output runs/cbam --precision bf16
    torchrun --nproc-per-node 8 examples/finetune.py cbam.safetensors --data /data/imagenet --shard

It leaves `last.pt` (all that a killed run needs to go on: give the same command again), `curve.csv` (the loss of each
step) and, at its end, `tuned.safetensors`, which `surgeon.load` opens. Images are drawn by their epoch and number, and
the batch norms' statistics stay as they are, so that the curve does not depend on how many processes share a batch.
"""

import argparse
import math
import os
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from finetune_data import Bad, Seeded, check_head, images, loader, network
from finetune_state import Run
from rich.progress import Progress
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import surgeon

# They go by their statistics; of those of a batch, each process would see its part alone.
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def options(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="sample:digits", help="a file that surgeon wrote")
    parser.add_argument(
        "--data", default="sample:digits", help="a folder with train/ and val/, or one with CIFAR in it"
    )
    parser.add_argument("--output", type=Path, default=Path("finetuned"), help="the folder to leave")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--warm-up", type=int, default=1, help="epochs in which only gates and head learn")
    parser.add_argument("--batch", type=int, default=64, help="images of a step, all processes together")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--average", type=float, default=0.99, help="decay of the averaged weights (EMA)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--checkpointing", action="store_true", help="compute maps again in the backward pass")
    parser.add_argument("--shard", action="store_true", help="FSDP2 in the place of DDP")
    parser.add_argument("--save-every", type=int, default=50, help="steps between two states on disk")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side, for folders of images")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


@contextmanager
def processes():
    """(rank, number of processes, device): one of those that torchrun started, or the only one."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if world > 1:
        distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield rank, world, device
    finally:
        if world > 1:
            distributed.destroy_process_group()


def blocks(net):
    """The modules that hold attention."""
    owners = dict.fromkeys(path.rpartition(".")[0] for path in surgeon.attention_modules(net))
    return [net.get_submodule(path) for path in owners if path]


def prepared(net, args, world):
    """The network with what training needs around its blocks."""
    for block in blocks(net) if args.checkpointing else []:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    if world > 1 and args.shard:
        for block in blocks(net):
            fully_shard(block)
        fully_shard(net)
    return net


def slope(step, each, total, opens):
    """The share of the rate: up in a quarter of an epoch, again when the whole network begins to learn, and a cosine."""
    since = step - opens if step >= opens else step
    return min(4 * (since + 1) / each, 1) * (0.5 + 0.5 * math.cos(math.pi * step / total))


def phase(net, args, epoch, world):
    """The network as it learns in this epoch: frozen but for gates and head, or whole; what to call for its scores."""
    net.train()
    for module in net.modules():
        if isinstance(module, NORMS):
            module.eval()
    net.requires_grad_(True)
    if epoch < args.warm_up:
        surgeon.freeze(net, head=True)
    # DDP counts what learns when it is made.
    return DistributedDataParallel(net) if world > 1 and not args.shard else net


def batches(count, args, epoch, rank, world):
    """The indices of this process in each batch of an epoch; a last batch that is not full is left out."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1000 * args.seed + epoch))
    return [batch[rank::world].tolist() for batch in order.split(args.batch) if len(batch) == args.batch]


@torch.no_grad()
def accuracy(net, judging, args, device, rank, world):
    """The share of `judging` that the network names right; each process looks at a part, all at equally many."""
    count = len(judging)
    parts = torch.arange(-(-count // world) * world)[rank::world].split(args.batch)
    right = torch.zeros((), device=device)
    rounds = loader(
        Seeded(judging, args.seed, 0), [[index % count for index in part.tolist()] for part in parts], args.workers
    )
    for part, (pixels, labels) in zip(parts, rounds):
        named = net.eval()(pixels.to(device)).argmax(1) == labels.to(device)
        right += named[(part < count).to(device)].sum()
    if world > 1:
        distributed.all_reduce(right)
    return right.item() / count


def train(args):
    """Train, or go on; the mean loss of each step."""
    with processes() as (rank, world, device):
        net = network(args.source).to(device)
        training, judging, classes = images(args.data, args.size)
        check_head(net.cpu(), judging, classes, args.source, args.data)
        if args.batch % world or len(training) < args.batch:
            raise Bad(f"finetune: batches of {args.batch} of {len(training)} images can't be shared by {world}.")
        net = prepared(net.to(device), args, world)
        optimizer = torch.optim.AdamW(surgeon.param_groups(net, lr=args.lr, weight_decay=args.weight_decay))
        each = len(training) // args.batch
        total = args.epochs * each
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, partial(slope, each=each, total=total, opens=args.warm_up * each)
        )
        dtype = PRECISIONS[args.precision]
        scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        run = Run(args, net, optimizer, schedule, scaler, is_writer=rank == 0)
        run.resume()
        with Progress(disable=rank > 0) as bar:
            task = bar.add_task("", total=total, completed=len(run.curve))
            for epoch in range(len(run.curve) // each, args.epochs):
                called = phase(net, args, epoch, world)
                left = batches(len(training), args, epoch, rank, world)[len(run.curve) - epoch * each :]
                for pixels, labels in loader(Seeded(training, args.seed, epoch), left, args.workers):
                    torch.manual_seed(1_000_000 * args.seed + len(run.curve))  # of drop-outs
                    with torch.autocast(device.type, dtype) if dtype else nullcontext():
                        loss = F.cross_entropy(called(pixels.to(device)), labels.to(device))
                    run.step(loss)
                    run.count(averaged(loss.detach(), world))
                    bar.update(task, advance=1, description=f"epoch {epoch + 1}  loss {run.curve[-1]:.4f}")
                right = accuracy(net, judging, args, device, rank, world)
                with run.averaged():
                    smooth = accuracy(net, judging, args, device, rank, world)
                if rank == 0:
                    bar.print(f"epoch {epoch + 1}/{args.epochs}  accuracy {right:.4f}, averaged {smooth:.4f}")
        run.finish(network(args.source))
        return run.curve


def averaged(loss, world):
    if world > 1:
        distributed.all_reduce(loss)
    return loss.item() / world


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count())
    try:
        train(options())
    except KeyboardInterrupt:
        raise Bad("finetune: interrupted; the same command goes on.") from None
