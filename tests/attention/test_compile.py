"""Compiled by inductor in one graph, once for all sizes.

Every form takes two to fifteen seconds, so one of each family is tested here. All of them, trained as well, take some four minutes:
`SURGEON_ALL_FORMS=1 pytest tests/attention/test_compile.py`.
"""

import os
import shutil

import pytest
import torch

from tests.shared import formulas
from tests.shared.gates import CHANNELS, FOREIGN, form
from tests.shared.outcomes import same_outcome

ALL = bool(os.environ.get("SURGEON_ALL_FORMS"))
FORMS = dict(zip([*formulas.NAMES, *(name for name, _ in FOREIGN)], formulas.FORMS + FOREIGN))
FAMILIES = ["cbam", "bam", "se", "eca"]
# Without convolutions.
PLAIN = ["cbam-pools=('avg',)-branches=channel-reduction=1"]
CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d)
# All of them beyond the 4096 numbers up to which inductor writes another kernel.
SIZES = [(4, CHANNELS, 8, 6), (5, CHANNELS, 7, 12), (3, CHANNELS, 11, 5)]

pytestmark = [
    pytest.mark.export,
    pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a C++ compiler"),
]


def compiled(name, options, training):
    gate = form(name, options).train(training)
    torch._dynamo.reset()
    return gate, torch.compile(gate, fullgraph=True, dynamic=True)


@pytest.mark.parametrize("name", FORMS if ALL else FAMILIES)
@torch._dynamo.config.patch(error_on_recompile=True)
@torch.no_grad()
def test_one_graph_for_all_sizes(name):
    gate, fast = compiled(*FORMS[name], False)
    for size in SIZES:
        x = torch.randn(size)
        y = fast(x)
        torch.testing.assert_close(y, gate(x), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(y, x)


def convolves(name):
    return any(isinstance(module, CONVOLUTIONS) for module in form(*FORMS[name]).modules())


@pytest.mark.skipif(
    torch.__version__ < "2.12",
    reason="torch 2.11 compiles the backward pass of an autograd.Function for each size anew",
)
@pytest.mark.parametrize("name", [name for name in FORMS if not convolves(name)] if ALL else PLAIN)
@torch._dynamo.config.patch(error_on_recompile=True)
def test_trained_in_one_graph_for_all_sizes(name):
    gate, fast = compiled(*FORMS[name], True)
    for size in SIZES:
        same_outcome(fast, gate, torch.randn(size))


@pytest.mark.parametrize("name", [name for name in FORMS if convolves(name)] if ALL else ["cbam"])
def test_trained_with_convolutions(name):
    """torch 2.13 and 2.14 write the backward pass of any convolution for one size: a bare Conv2d is compiled anew as well."""
    for size in SIZES if ALL else SIZES[:1]:
        gate, fast = compiled(*FORMS[name], True)
        same_outcome(fast, gate, torch.randn(size))
