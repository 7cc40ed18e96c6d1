"""The passes that attention makes over a map: what is read of it, the product at the end, and the way back.

`Scan` is what attention uses. All time goes into these passes: a map is read from memory and written to it, while the
layers between them see a number per channel or per position.

What each computes is in `formulas`. Who makes them is chosen by `choice`: `eager`, torch's operators one by one;
`compiled`, loops in C++ for a CPU; `fused`, Triton's kernels for a GPU; and `plain`, operators that whoever records or
transforms them knows.
"""

from surgeon.attention.passes.scan import Scan

__all__ = ["Scan"]
