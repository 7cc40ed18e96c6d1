"""Every form compiles in one graph and exports, with batch, height and width left open."""

import onnxruntime
import pytest
import torch
from torch.export import Dim

from surgeon.attention import build
from surgeon.attention.layouts import Layout
from tests.shared import formulas
from tests.shared.gates import CHANNELS, FOREIGN, form
from tests.shared.outcomes import SideBySide, same_outcomes

pytestmark = pytest.mark.export
exports = pytest.mark.skipif(
    torch.__version__ < "2.7",
    reason="torch 2.6 gives each open axis a guard that it then refuses, and no batch norm to today's onnxscript",
)

FORMS = formulas.FORMS + FOREIGN
FAMILIES = sorted({name.partition(":")[0] for name, _ in FORMS})
OPEN = {0: Dim("n"), 2: Dim("h"), 3: Dim("w")}
SIZES = [(4, CHANNELS, 8, 6), (5, CHANNELS, 7, 12), (1, CHANNELS, 9, 9)]


def side_by_side(family):
    return SideBySide(form(name, options) for name, options in FORMS if name.partition(":")[0] == family)


def maps():
    torch.manual_seed(0)
    return [torch.randn(size) for size in SIZES]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@exports
@pytest.mark.parametrize("family", FAMILIES)
def test_export_and_onnx(family, tmp_path):
    gates = side_by_side(family).eval()
    program = torch.export.export(gates, ([maps()[0]] * len(gates),), dynamic_shapes={"maps": [OPEN] * len(gates)})
    exported, file = program.module(), tmp_path / "gates.onnx"
    torch.onnx.export(program, dynamo=True, verbose=False).save(str(file))
    session = onnxruntime.InferenceSession(str(file))
    for x in maps():
        want = [y.detach() for y in gates([x] * len(gates))]
        torch.testing.assert_close(exported([x] * len(gates)), want, rtol=1e-4, atol=1e-5)
        found = session.run(None, {taken.name: x.numpy() for taken in session.get_inputs()})
        torch.testing.assert_close([torch.from_numpy(y) for y in found], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_compile_in_one_graph(family):
    gates = side_by_side(family).train()
    torch._dynamo.reset()
    compiled = torch.compile(gates, fullgraph=True, backend="aot_eager")
    for x in maps()[:2]:
        same_outcomes(compiled, gates, x)


@exports
@pytest.mark.parametrize(
    ("layout", "shape", "free"),
    [
        (Layout("NHWC", (8, 6)), (2, 8, 6, CHANNELS), {0: Dim("n"), 1: Dim("h"), 2: Dim("w")}),
        (Layout("NLC", (8, 6), prefix=1), (2, 49, CHANNELS), {0: Dim("n")}),
        (Layout("NGLC", (4, 3)), (2, 5, 12, CHANNELS), {0: Dim("n"), 1: Dim("g")}),
        (Layout("NDHWC", (3, 8, 6)), (2, 3, 8, 6, CHANNELS), {0: Dim("n"), 1: Dim("d"), 2: Dim("h"), 3: Dim("w")}),
    ],
    ids=["NHWC", "tokens", "windows", "video"],
)
def test_export_and_compile_on_a_layout(layout, shape, free):
    gates, x = (
        SideBySide(form(name, {}, layout.dims) for name in ("cbam", "bam", "se", "eca", "timm:gc")),
        torch.randn(shape),
    )
    for gate in gates:
        gate.layout = layout
    program = torch.export.export(gates, ([x] * 5,), dynamic_shapes={"maps": [free] * 5}).module()
    more = [torch.cat([x, x.flip(0), x])] * 5
    torch.testing.assert_close(program(more), gates(more), rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()
    compiled = torch.compile(gates, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled([x] * 5), gates([x] * 5), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca", "timm:gc"])
def test_jit_trace(name):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, CHANNELS, 1), form(name, {})).eval()
    traced, x = torch.jit.trace(model, torch.randn(2, 3, 5, 4)), torch.randn(3, 3, 6, 7)
    torch.testing.assert_close(traced(x), model(x))


@pytest.mark.parametrize("name", ["cbam", "bam", "se", "timm:gc"])
def test_an_exported_network_has_no_python_in_it(name):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 1), build(name, 16)).eval()
    program = torch.export.export(model, (torch.randn(2, 3, 5, 4),))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert called and all(target.startswith("aten.") for target in called)


@pytest.mark.parametrize("name", ["cbam", "se", "timm:gc"])
def test_one_node_to_fx(name):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), build(name, 8)).eval()
    traced = torch.fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1"]
    x = torch.randn(2, 3, 5, 4)
    assert torch.equal(traced(x), model(x))
