"""DistributedDataParallel in two processes: every new parameter gets a gradient, the same in both."""

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

import surgeon
from tests.shared.bits import assert_same_bits
from tests.shared.operated import image, operated

pytestmark = pytest.mark.network

# Behind the last block that mixes tokens only the class token is read, so that what its pixels weigh is lost.
DEAD = {"resnet": set(), "vit": {"blocks.5.cbam", "blocks.5.cbam_1"}}


def train(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for name in DEAD:
        # Without find_unused_parameters, a weight that takes no part in the loss fails the next forward.
        model = DistributedDataParallel(operated(name).train())
        for _ in range(2):
            model.zero_grad()
            model(image(name)[rank : rank + 1].repeat(2, 1, 1, 1)).square().sum().backward()
        torch.save(
            {key: weight.grad for key, weight in surgeon.attention_parameters(model.module).items()},
            f"{folder}/{name}{rank}.pt",
        )
    distributed.destroy_process_group()


def test_two_processes(tmp_path):
    multiprocessing.spawn(train, (str(tmp_path),), nprocs=2)
    for name, dead in DEAD.items():
        ours, theirs = (torch.load(tmp_path / f"{name}{rank}.pt") for rank in (0, 1))
        assert list(ours) == list(surgeon.attention_parameters(operated(name)))
        assert_same_bits(ours, theirs)
        assert {key.split(".channel")[0].split(".spatial")[0] for key, grad in ours.items() if not grad.any()} == dead
