"""All tools, in the order of the page; a file's name is the group of the tools in it."""

from benchmarks.afterwards.registry import TOOLS as TOOLS

# isort: off
from benchmarks.afterwards.tools import trainers, precision, averaging, distribution, memory  # noqa: F401
from benchmarks.afterwards.tools import exporters, quantization, pruning, norms, adapters  # noqa: F401
from benchmarks.afterwards.tools import inspection, copying, functional  # noqa: F401
