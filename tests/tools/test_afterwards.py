"""Other people's tools on a network with attention: each as the table says, and the page as the table."""

import warnings

import pytest
import torch

pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("ignore")]

from benchmarks.afterwards import page  # noqa: E402
from benchmarks.afterwards.__main__ import PAGE, TABLE  # noqa: E402
from benchmarks.afterwards.judge import AS_STOCK, FAILS, MISSING, REFUSED, SILENT, STOCK_FAILS, verdict  # noqa: E402
from benchmarks.afterwards.registry import Tool  # noqa: E402
from benchmarks.afterwards.subject import STARTS, WHERE  # noqa: E402
from benchmarks.afterwards.tools import TOOLS  # noqa: E402
from benchmarks.sweep import rows  # noqa: E402

ROWS = rows(TABLE)
# What is known to go wrong, by tool and attention, with the reason.
_CLIPPED = "adaptive clipping holds a gamma that is 0 to steps of 2e-6: give it a group without clipping"
_RULES = "captum has no rule for a product of two maps, and asks for one for each kind of layer in gates"
KNOWN: dict[tuple[str, str], str] = {
    **{("timm: NativeScaler, adaptive clipping, mixup", name): _CLIPPED for name in ("cbam", "bam", "eca")},
    **{("captum: LRP", name): _RULES for name in ("bam", "eca", "timm:se")},
    ("selective checkpoint policy", "timm:se"): "timm's module works in place on what the policy keeps",
    ("peft: LoRA on every layer", "bam"): "peft's LoRA leaves out the dilation of a convolution, in any network",
    ("timm: freeze_batch_norm_2d", "cbam"): "the norm that is frozen starts at 0, and its convolution gets no gradient",
}


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


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", sorted({row["tool"] for row in ROWS}))
def test_a_cell_measured_again_gives_its_row(name, start):
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        found = verdict(TOOLS[name], "cbam", start)
    torch.set_num_threads(threads)
    if found.word == MISSING:
        pytest.skip(f"not installed: {found.told}")
    (row,) = [row for row in ROWS if (row["tool"], row["attention"], row["start"]) == (name, "cbam", start)]
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
