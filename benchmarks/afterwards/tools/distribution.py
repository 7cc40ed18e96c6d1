"""Several processes, over gloo; most with one process, which takes the same ways through torch."""

import os
import socket
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

import surgeon
from benchmarks.afterwards.registry import answers, learns
from benchmarks.afterwards.subject import train


@contextmanager
def _group(rank=0, size=1, port=None):
    """One process of a group."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port or _free_port()))
    dist.init_process_group("gloo", rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@learns("DistributedDataParallel")
def ddp(model, batches):
    with _group():
        train(nn.parallel.DistributedDataParallel(model), batches)


@learns("DDP, static graph, gradients as views of buckets")
def ddp_static(model, batches):
    with _group():
        wrapped = nn.parallel.DistributedDataParallel(model, static_graph=True, gradient_as_bucket_view=True)
        train(wrapped, batches)


@learns("DDP, 2 processes")
def ddp_of_two(model, batches):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        torch.save(model, path)
        torch.multiprocessing.spawn(_rank, (_free_port(), path, batches), nprocs=2)
        ranks = [torch.load(path.with_suffix(f".{rank}")) for rank in range(2)]
    other = [name for name, weight in ranks[0].items() if not torch.equal(weight, ranks[1][name])]
    assert not other, f"{len(other)} weights differ between the processes, first {other[0]!r}"
    return ranks[0]


def _rank(rank, port, path, batches):
    torch.set_num_threads(1)
    model = torch.load(path, weights_only=False)
    with _group(rank, 2, port):
        halves = [(x.chunk(2)[rank], labels.chunk(2)[rank]) for x, labels in batches]
        train(nn.parallel.DistributedDataParallel(model), halves)
    torch.save(dict(model.named_parameters()), path.with_suffix(f".{rank}"))


@learns("ZeroRedundancyOptimizer")
def zero(model, batches):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    with _group():
        wrapped = nn.parallel.DistributedDataParallel(model)
        train(wrapped, batches, ZeroRedundancyOptimizer(wrapped.parameters(), torch.optim.SGD, lr=0.1))


def _blocks(model):
    """What is sharded by itself: timm's blocks."""
    return [block for stage in (model.layer1, model.layer2, model.layer3, model.layer4) for block in stage.children()]


def _full(model):
    return {name: weight.full_tensor().detach() for name, weight in model.named_parameters()}


def _sharded(model, modules, *, only=False, **options):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    shard = partial(fully_shard, mesh=init_device_mesh("cpu", (1,)), **options)
    for module in modules if only else [*modules, model]:
        shard(module)
    return model


@learns("FSDP2, each block")
def fsdp2(model, batches):
    with _group():
        return _full(train(_sharded(model, _blocks(model)), batches))


@learns("FSDP2, each block, bf16 MixedPrecisionPolicy")
def fsdp2_bfloat16(model, batches):
    from torch.distributed.fsdp import MixedPrecisionPolicy

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    # The network's own norms stay in float32, which torch asks for on a CPU; those of attention are left to the policy.
    inside = tuple(surgeon.attention_modules(model))
    norms = [
        m
        for path, m in model.named_modules()
        if isinstance(m, nn.BatchNorm2d) and not path.startswith(inside or ("-",))
    ]
    with _group():
        _sharded(model, norms, only=True, mp_policy=MixedPrecisionPolicy(cast_forward_inputs=False))
        return _full(train(_sharded(model, _blocks(model), mp_policy=policy), batches))


@learns("FSDP2, each layer")
def fsdp2_layers(model, batches):
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    with _group():
        return _full(train(_sharded(model, layers), batches))


@learns("FSDP1")
def fsdp1(model, batches):
    from torch.distributed.fsdp import FullyShardedDataParallel

    with _group():
        wrapped = FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))
        train(wrapped, batches)
        with FullyShardedDataParallel.summon_full_params(wrapped):
            return {name: weight.detach().clone() for name, weight in wrapped.module.named_parameters()}


@answers("distributed checkpoint of a sharded network")
def distributed_checkpoint(model, x):
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict

    with _group(), tempfile.TemporaryDirectory() as folder:
        _sharded(model, _blocks(model))
        dcp.save({"model": get_model_state_dict(model)}, checkpoint_id=folder)
        for weight in model.parameters():
            weight.detach().zero_()
        state = get_model_state_dict(model)
        dcp.load({"model": state}, checkpoint_id=folder)
        set_model_state_dict(model, state)
        return model(x)


@answers("DataParallel")
def data_parallel(model, x):
    return nn.DataParallel(model)(x)


@answers("torch.distributed.pipelining, cut at a stage")
def pipelined(model, x):
    from torch.distributed.pipelining import SplitPoint, pipeline

    return pipeline(model, (x,), split_spec={"layer3": SplitPoint.BEGINNING})(x)


@learns("post-local SGD")
def local_sgd(model, batches):
    from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager

    with _group():
        averager = PeriodicModelAverager(period=1)
        for batch in batches:
            train(model, [batch])
            averager.average_parameters(model.parameters())
