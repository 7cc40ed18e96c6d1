"""Every test runs on one thread: the same bits on every machine, and no quarrel about the cores."""

import os

import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
