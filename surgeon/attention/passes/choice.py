"""What makes the passes, by the word for it."""

from __future__ import annotations

from typing import Literal

from surgeon.attention.passes import compiled, eager
from surgeon.attention.passes.kernels import Kernels

Passes = Literal["eager", "compiled"]
DEFAULT: Passes = "eager"
KERNELS: dict[Passes, Kernels] = {"eager": eager, "compiled": compiled}
