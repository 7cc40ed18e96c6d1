"""Other people's tools on a network with attention: each as the table says, and the page as the table."""

import warnings

import pytest
import timm
import torch

pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("ignore")]

from benchmarks.afterwards import page, subject  # noqa: E402
from benchmarks.afterwards.__main__ import PAGE, TABLE  # noqa: E402
from benchmarks.afterwards.judge import AS_STOCK, FAILS, MISSING, REFUSED, SILENT, STOCK_FAILS, WARNED, verdict  # noqa: E402
from benchmarks.afterwards.known import KNOWN  # noqa: E402
from benchmarks.afterwards.registry import Tool  # noqa: E402
from benchmarks.afterwards.subject import STARTS, WHERE  # noqa: E402
from benchmarks.afterwards.tools import TOOLS  # noqa: E402
from benchmarks.sweep import rows  # noqa: E402
from surgeon import errors  # noqa: E402

ROWS = rows(TABLE)


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page.written(ROWS)


def test_every_cell_of_a_tool_is_there():
    found = {}
    for row in ROWS:
        found.setdefault(row["tool"], []).append((row["attention"], row["start"]))
    cells = [(attention, start) for attention in WHERE for start in STARTS]
    assert len(found) >= 45 and all(those == cells for those in found.values())
    assert set(found) <= set(TOOLS)


def test_nothing_goes_wrong_but_what_is_known():
    bad = {(row["tool"], row["attention"]) for row in ROWS if row["verdict"] in (SILENT, FAILS)}
    assert bad == set(KNOWN)


# A row a tool, of each start in turn; what compiles for longer, only the command measures.
_OF_CBAM = [row for row in ROWS if row["attention"] == "cbam" and float(row["seconds"]) < 30]
CHOSEN = {row["tool"]: row for row in _OF_CBAM if row["start"] == STARTS[list(TOOLS).index(row["tool"]) % len(STARTS)]}


@pytest.mark.parametrize("name", CHOSEN)
def test_a_cell_measured_again_gives_its_row(name):
    row, threads = CHOSEN[name], torch.get_num_threads()
    with warnings.catch_warnings():
        found = verdict(TOOLS[name], "cbam", row["start"])
    torch.set_num_threads(threads)
    if found.word == MISSING:
        pytest.skip(f"not installed: {found.told}")
    assert found.word == row["verdict"], found.told


def judged(kind, does):
    return verdict(Tool("a tool", "tools", kind, does), "se", "identity").word


def without_attention(model, x):
    for module in model.modules():
        module.enabled = False
    return model(x)


def moved(model, x):
    return model(x) + len([module for module in model.modules() if hasattr(module, "gamma")])


def trained_but_for_attention(model, batches):
    for name, weight in model.named_parameters():
        if ".se" not in name:
            weight.data += 1


def trained_otherwise(model, batches):
    for weight in model.parameters():
        weight.data += len(list(model.parameters()))


def raising(model, x):
    assert not any(hasattr(module, "gamma") for module in model.modules()), "gates are not for me"
    return model(x)


def never(model, x):
    raise ValueError("not for anybody")


@pytest.mark.parametrize(
    ("kind", "does", "word"),
    [
        ("answers", lambda model, x: model(x), AS_STOCK),
        ("answers", without_attention, SILENT),
        ("answers", moved, SILENT),
        ("answers", raising, SILENT),
        ("answers", never, STOCK_FAILS),
        ("learns", trained_but_for_attention, SILENT),
        ("learns", trained_otherwise, SILENT),
        ("looks", moved, SILENT),
        ("looks", without_attention, SILENT),
        ("acts", without_attention, SILENT),
        ("counts", lambda model, x: 1, SILENT),
        ("counts", lambda model, x: sum(weight.numel() for weight in model.parameters()), AS_STOCK),
    ],
)
def test_a_wrong_result_is_found(kind, does, word):
    assert judged(kind, does) == word


def test_a_refusal_of_surgeons_is_told_from_an_error():
    assert judged("answers", TOOLS["torch.jit.script"].does) == REFUSED


def test_a_warning_of_surgeons_is_told_from_silence():
    def stops(model, batches):
        for module in model.modules():
            module.requires_grad_(not isinstance(module, torch.nn.Conv2d))
        warnings.warn("not of surgeon's")

    def stops_and_says(model, batches):
        stops(model, batches)
        warnings.warn("it will not learn", errors.UntrainedAttention)

    assert (judged("learns", stops), judged("learns", stops_and_says)) == (SILENT, WARNED)


def test_adaptive_clipping_holds_weights_back_that_timm_starts_at_0():
    model = timm.create_model("test_resnet", num_classes=10, zero_init_last=True)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    TOOLS["timm: NativeScaler, adaptive clipping, mixup"].does(model, subject.batches(3))
    moved = {name: (weight - before[name]).norm().item() for name, weight in model.named_parameters()}
    zeros = [name for name, weight in before.items() if name.endswith("weight") and not weight.any()]
    # Three steps of a rate of 0.1, each clipped to 0.02 of the 1e-3 that such a norm counts as at least.
    assert zeros and all(0 < moved[name] < 3.001 * 0.1 * 0.02 * 1e-3 for name in zeros)
    assert "layer1.0.bn1.weight" in {name for name, distance in moved.items() if distance == 0}
