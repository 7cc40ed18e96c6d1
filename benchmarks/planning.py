"""What an operation costs: time beside torchvision's create_feature_extractor, growth, memory, size.

    python -m benchmarks.planning

All figures are medians of warm runs in one process, as ratios; planning and applying CBAM at every
residual block (at every stage's end where there is none) against cutting the same network.
"""

import gc
import resource
import statistics
import time
import warnings

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import surgeon
from surgeon import networks

NETWORKS = (
    *(
        "resnet18",
        "resnet50",
        "resnext50_32x4d",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "convnext_tiny",
    ),
    *("regnet_y_400mf", "densenet121", "vgg16_bn", "swin_t", "vit_b_16", "mnasnet1_0"),
)
TIMM = (
    "resnet50",
    "convnext_tiny",
    "regnety_008",
    "mobilenetv3_large_100",
    "efficientnet_b0",
    "resnetv2_50",
    "vit_tiny_patch16_224",
)
RUNS = 5
console = Console(width=110)


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    _beside_feature_extractor()
    _growth()
    _memory()
    _large()


def _beside_feature_extractor():
    table = Table(
        "network",
        "sites",
        "cut, ms",
        "plan + apply, ms",
        "ratio",
        title="planning and applying, beside create_feature_extractor",
    )
    ratios = []
    names = [f"torchvision:{name}" for name in NETWORKS] + [f"timm:{name}" for name in TIMM]
    for name in track(names, console=console, description="planning"):
        model = networks.build(name).eval()
        where = "residual" if surgeon.places(model)["residual"] else "bottleneck"
        node = get_graph_node_names(model)[1][-2]
        cut, operate = _in_turns(lambda: create_feature_extractor(model, [node]), lambda: _there_and_back(model, where))
        ratios.append(operate / cut)
        table.add_row(
            name,
            str(len(surgeon.plan(model, "cbam", where=where))),
            f"{cut:.0f}",
            f"{operate:.0f}",
            f"{ratios[-1]:.2f}",
        )
    console.print(table)
    console.print(
        f"median ratio {statistics.median(ratios):.2f}, largest {max(ratios):.2f}, over {len(ratios)} networks\n"
    )


def _there_and_back(model, where):
    surgeon.inject(model, "cbam", where=where)
    surgeon.remove(model)


def _in_turns(first, second):
    """Median milliseconds of two actions, run alternately so that both see the same machine."""
    times = {first: [], second: []}
    for action in (first, second) * (RUNS + 1):
        # What the other left behind, that still refers to the network, is not this one's business.
        gc.collect()
        start = time.perf_counter()
        action()
        times[action].append((time.perf_counter() - start) * 1000)
    return tuple(statistics.median(taken[1:]) for taken in times.values())


def _growth():
    table = Table("network", "modules", "plan, ms", "per module, ms", title="growth with the number of modules")
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        model = networks.build(f"torchvision:{name}", empty=True).eval()
        modules = sum(1 for _ in model.modules())
        taken, _ = _in_turns(lambda: surgeon.plan(model, "cbam"), lambda: None)
        table.add_row(name, str(modules), f"{taken:.0f}", f"{taken / modules:.2f}")
    console.print(table)


def _memory():
    """Growth of peak memory by an injection into a large network, after one into a small one warmed all up."""
    small, model = networks.build("torchvision:vgg11"), networks.build("torchvision:vgg19")
    surgeon.inject(small, "bam", where="bottleneck")
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    surgeon.inject(model, "bam", where="bottleneck")
    added = sum(weight.numel() * weight.element_size() for weight in surgeon.attention_parameters(model).values())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    console.print(
        f"peak memory grew by {grown / size:.2%} of the {size / 1e6:.0f} MB network (attention itself: {added / size:.2%})\n"
    )


def _large():
    import timm

    with torch.device("meta"):
        model = timm.create_model("vit_giant_patch14_224", embed_dim=1664)
    count = sum(weight.numel() for weight in model.parameters())
    start = time.perf_counter()
    plan = surgeon.plan(model, "cbam", where="residual")
    console.print(
        f"{count / 1e9:.2f} billion parameters on meta: {len(plan)} sites planned in {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
