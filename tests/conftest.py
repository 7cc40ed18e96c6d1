"""Every test runs on one thread and from one seed: the same bits on every machine, and no quarrel about the cores."""

import os

import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def _seeded():
    """Every test draws the same numbers in every run."""
    torch.manual_seed(0)
