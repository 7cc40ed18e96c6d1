"""All tools, in the order of the page; a file's name is the group of the tools in it."""

from benchmarks.afterwards.registry import TOOLS as TOOLS
from benchmarks.afterwards.tools import (  # noqa: F401, I001
    trainers,
    precision,
    averaging,
    distribution,
    memory,
    exporters,
    quantization,
    pruning,
    norms,
    adapters,
    inspection,
    copying,
    functional,
)
