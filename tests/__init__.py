"""The tests. Without a GPU, Triton's kernels run in its interpreter, which it has to know before anybody imports it."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
