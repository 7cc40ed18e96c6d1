"""Programs (.pt2) are read without running code from them, or not at all."""

import logging
import zipfile

import pytest

import surgeon
from surgeon.cli import run
from surgeon.files import intake
from surgeon.programs import plain, vet
from tests.shared import bombs
from tests.shared.small import tiny

constants = pytest.importorskip("torch.export.pt2_archive.constants", reason=".pt2 needs a newer torch")

pytestmark = pytest.mark.network

# What goes off in torch.export.load, or when the graph becomes Python, on reading with permission.
OPAQUE = pytest.mark.skipif(
    not hasattr(constants, "OPAQUE_OBJ_FILENAME_PREFIX"), reason="this torch keeps no such objects in its archives"
)
LIVE = ["samples", "weight", pytest.param("constant", marks=OPAQUE), "size", "name"]
TOLD = {
    "samples": "holds sample inputs that are more than tensors",
    "weight": "holds 'data/weights/weight_bomb', which is no part of a plain program",
    "constant": "holds 'data/constants/opaque_obj_0', which is no part of a plain program",
    "size": "as a size",
    "name": "as a name",
    "operator": "holds 'torch.os.mkdir' as an operator",
    "structure": "as a structure of results",
    "guard": "as a condition",
    "path": "as a path",
    "library": "holds 'data/aotinductor/model/run.so', which is no part of a plain program",
    "old": "holds a program of an old format",
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "good.pt2"
    bombs.program(path)
    return path


@pytest.fixture(params=TOLD)
def bomb(request, good, tmp_path):
    """(kind, file, trace): a program that leaves `trace` behind when it is read without care."""
    getattr(bombs, request.param)(good, tmp_path / "bomb.pt2", tmp_path / "trace")
    return request.param, tmp_path / "bomb.pt2", tmp_path / "trace"


def test_no_program_runs_code_without_permission(bomb, capsys, tmp_path):
    kind, file, trace = bomb
    commands = [
        ["places", file],
        ["inject", file, "--attention", "cbam", "-o", tmp_path / "out.pt2"],
        ["show", file],
        ["verify", file],
    ]
    for command in commands:
        assert run(list(map(str, command))) == 2
        error = capsys.readouterr().err
        assert (
            error.count("\n") == 1
            and TOLD[kind] in error
            and "reading it might run code from the file" in error
            and "--allow-pickle" in error
        )
    with pytest.raises(surgeon.SurgeonError, match="reading it might run code"):
        surgeon.load(file)
    assert not trace.exists() and not (tmp_path / "out.pt2").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", LIVE)
def test_the_bombs_would_be_seen(kind, good, tmp_path, monkeypatch):
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    getattr(bombs, kind)(good, tmp_path / "bomb.pt2", tmp_path / "trace")
    try:
        intake.open_source(tmp_path / "bomb.pt2", allow_pickle=True)
    except surgeon.SurgeonError:
        pass
    assert (tmp_path / "trace").exists()


def test_an_ordinary_program_needs_no_permission(good):
    vet.archive(good)
    loaded = intake.open_source(good)
    assert surgeon.places(loaded.model, example_inputs=loaded.example[0]) == surgeon.places(tiny(None))


def test_an_archive_that_claims_more_than_its_size_is_refused(good, tmp_path):
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(tmp_path / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) if not name.endswith("weight_0") else b"\0" * 50_000_000)
    with pytest.raises(surgeon.SurgeonError, match="it claims to hold more than its size"):
        surgeon.load(tmp_path / "bomb.pt2")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (
            "Mul(Integer(64), Add(FloorDiv(Add(Symbol('s0', positive=True, integer=True), Integer(-1)), Integer(4)), Integer(1)))",
            True,
        ),
        ("((s77 - 1)//2) + 1", True),
        ("2*s0**2", True),
        ("s0 < 5", True),
        ("Pow(Symbol('s0', integer=True), Integer(2))", True),
        ("9**9**9**9", False),
        ("Pow(Pow(Integer(9), Integer(4)), Integer(4))", False),
        ("Pow(Integer(9), Integer(999999999))", False),
        ("Symbol('print(1)')", False),
        ("FloorDiv('print(1)', 2)", False),
        ("s0.__class__", False),
        ("exec", False),
        ("open(s0)", False),
        ("lambda: s0", False),
        ("[s0 for s1 in s2]", False),
        ("s0 # \n+ 1", False),
        ("(" * 5000, False),
        ("s0(", False),
        ("Add(*s0)", False),
        ("L['x'].size()[0]", False),
    ],
)
def test_only_arithmetic_is_a_size(text, fits):
    assert plain.is_sum(text) == fits


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("torch.sym_max(1, L['x'].size()[3] // 16) > 1", True),
        ("L['x'].__class__ == 1", False),
        ("torch.os.mkdir('a')", False),
        ("L['a b'] == 1", False),
    ],
)
def test_only_conditions_on_sizes_are_guards(text, fits):
    assert plain.is_guard(text) == fits


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("torch.ops.aten.conv2d.default", True),
        ("torch.ops.aten.add.Tensor", True),
        ("_operator.mul", True),
        ("torch.ops.torchvision.nms.default", True),
        ("torch.ops.aten.from_file.default", False),
        ("torch.ops.aten.save.default", False),
        ("torch.ops.aten.format.default", False),
        ("torch.ops.image.write_file.default", False),
        ("torch.load", False),
        ("_operator.methodcaller", False),
        ("math.ceil", True),
        ("torch.ops.aten.", False),
        ("torch.os.torch.ops.aten.conv2d.default", False),
    ],
)
def test_only_operators_that_compute_are_operators(text, fits):
    assert plain.is_operator(text) == fits


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (
            '[1, {"type": "builtins.tuple", "context": "null", "children_spec": [{"type": null, "context": null, "children_spec": []}]}]',
            True,
        ),
        ('[1, {"type": "builtins.dict", "context": "[\\"x\\"]", "children_spec": []}]', True),
        ('[1, {"type": "builtins.dict", "context": "[\\"x=1\\"]", "children_spec": []}]', False),
        ('[1, {"type": "collections.defaultdict", "context": "[]", "children_spec": []}]', False),
        ("[" * 100_000, False),
        ("1", False),
        ("{}", False),
        ("[1, []]", False),
    ],
)
def test_only_plain_containers_are_structures(text, fits):
    assert plain.is_nest(text) == fits
