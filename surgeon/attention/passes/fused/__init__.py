"""The passes on a GPU, each by one Triton kernel.

For both scores of CBAM that is three reads of the map and one write on the way there; on the way back two reads of the
map, two of the gradient that comes, and one write of that which goes.
"""

from surgeon.attention.passes.fused.blends import blend, blend_sums
from surgeon.attention.passes.fused.maps import average, pools, product, spread, squeeze, sums, weighted
from surgeon.attention.passes.fused.numbers import factors, of_factors

__all__ = [
    "average", "pools", "squeeze", "product", "sums", "weighted", "spread", "blend", "blend_sums", "factors",
    "of_factors",
]  # fmt: skip
