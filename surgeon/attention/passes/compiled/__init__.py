"""The passes on a CPU, as loops compiled for the one that is there: each reads a map once, and writes one at most.

`source` has the loops, C++ with vectors of the compiler's own; `library` compiles them, once; a `Grid` calls them.
"""

from surgeon.attention.passes.compiled.blends import blend, blend_sums
from surgeon.attention.passes.compiled.maps import average, pools, product, spread, squeeze, sums, weighted

__all__ = ["average", "pools", "squeeze", "product", "sums", "weighted", "spread", "blend", "blend_sums"]
