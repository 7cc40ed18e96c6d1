"""Every way in x every way out x five networks: is what comes out what went in?

    python -m benchmarks.roundtrips                    # all of it, some minutes
    python -m benchmarks.roundtrips --networks swin    # one network

Attention that does nothing yet goes in (in a file of surgeon's own: attention that acts), each result is read again
in its own way, and its tensors and outputs are compared: bit for bit, in programs and ONNX to 1e-4 of the largest value.
"""

import argparse
import logging
import tempfile
import time
import warnings
from collections import Counter
from contextlib import redirect_stderr
from copy import deepcopy
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import safetensors.torch
import timm
import torch
from rich.console import Console
from rich.table import Table

import surgeon
from surgeon import networks
from surgeon.cli import run
from surgeon.networks.samples import natural, small

EQUAL, CLOSE, REFUSED = "same", "close", "refused"
LIMIT = 1e-4


@dataclass(frozen=True)
class Network:
    """A network of torchvision's, and the timm network that stands in for it where a folder of timm's is meant."""

    name: str
    timm: str | None
    place: str = "bottleneck"


NETWORKS = {
    "resnet18": Network("torchvision:resnet18", "timm:resnet18"),
    "mobilenet_v3": Network("torchvision:mobilenet_v3_small", "timm:mobilenetv3_small_050"),
    "convnext": Network("torchvision:convnext_tiny", "timm:convnext_atto"),
    "swin": Network("torchvision:swin_t", "timm:swin_tiny_patch4_window7_224"),
    "detector": Network("torchvision:ssdlite320_mobilenet_v3_large", None),
}
OUTPUTS = ("out.safetensors", "folder", "out.pth", "out.pt2", "out.onnx")


def library(model, name, room):
    safetensors.torch.save_file(model.state_dict(), room / "in.safetensors")
    return [name, "--weights", room / "in.safetensors"]


def nested(model, name, room):
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}},
        room / "in.pth",
    )
    return [room / "in.pth", "--arch", name]


def folder(model, name, room):
    timm.models._hub.save_config_for_hf(model, room / "config.json")
    safetensors.torch.save_file(model.state_dict(), room / "model.safetensors")
    return [room]


def program(model, name, room):
    trunk = getattr(model, "backbone", model)
    torch.export.save(
        torch.export.export(trunk, (image_of(model),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)),
        room / "in.pt2",
    )
    return [room / "in.pt2"] if trunk is not model else [room / "in.pt2", "--arch", name]


def own(model, name, room):
    surgeon.save(model, room / "own.safetensors")
    return [room / "own.safetensors"]


def pickled(model, name, room):
    torch.save(model, room / "in.pt")
    return [room / "in.pt", "--allow-pickle"]


INPUTS = {
    "--weights": library,
    "nested .pth": nested,
    "timm folder": folder,
    ".pt2": program,
    "surgeon's own": own,
    "pickled": pickled,
}


def image_of(model):
    """Noise that the network takes, two images of it; a detector's backbone takes what it was made for."""
    torch.manual_seed(1)
    if hasattr(model, "backbone"):
        return torch.randn(2, 3, 96, 96)
    return (
        natural(model, batch=2)
        if any("relative_position" in key for key in model.state_dict())
        else small(model, batch=2)
    )


def built(network, way):
    """(the network, its name), with attention that acts for a file of surgeon's own."""
    name = network.timm if way == "timm folder" else network.name
    torch.manual_seed(0)
    model = networks.build(name, num_classes=7)
    if way == "surgeon's own":
        surgeon.inject(model, "eca", where=network.place)
        with torch.no_grad():
            for weight in surgeon.attention_parameters(model).values():
                weight.fill_(0.3)
    return model, name


def answers(model, image):
    """What a network says to `image`, as a list of tensors; a detector's backbone in its place."""
    with torch.no_grad():
        found = getattr(model, "backbone", model)(image)
    return list(found.values()) if isinstance(found, dict) else [found]


def through(model, name, network, way, output, room):
    """(outcome, in words) for one cell."""
    words = list(map(str, INPUTS[way](deepcopy(model), name, room)))
    command = (
        ["export", *words]
        if way == "surgeon's own"
        else ["inject", *words, "--attention", "eca", "--where", network.place]
    )
    told = StringIO()
    with redirect_stderr(told):
        code = run([*command, "-o", str(room / output), "--quiet"])
    if code:
        return REFUSED, told.getvalue().strip()
    return compared(model, room / output, image_of(model))


def compared(model, path, image):
    """What came out, read in its own way, against the network that went in."""
    expected = answers(model, image)
    if path.suffix == ".onnx":
        return _near(expected, _onnx(path, image))
    if path.suffix == ".pt2":
        found = torch.export.load(path)
        state, said = found.state_dict, answers(found.module(), image)
    else:
        loaded = surgeon.load(path)
        state, said = loaded.state_dict(), answers(loaded, image)
    if not _holds(state, getattr(model, "backbone", model) if path.suffix == ".pt2" else model):
        return "wrong", "a tensor differs"
    if path.suffix != ".pt2":
        return (EQUAL, "same bits") if all(map(torch.equal, expected, said)) else ("wrong", "outputs differ")
    return _near(expected, said)


def _holds(state, model):
    return all(torch.equal(state[key], value) for key, value in model.state_dict().items()) and any(
        ".eca" in key or key.startswith("eca") for key in state
    )


def _onnx(path, image):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return [torch.from_numpy(part) for part in session.run(None, {session.get_inputs()[0].name: image.numpy()})]


def _near(expected, found):
    far = max(
        float((one - other).abs().max() / one.abs().max().clamp(min=1e-30))
        for one, other in zip(expected, found, strict=True)
    )
    return (CLOSE, f"{far:.0e}") if far < LIMIT else ("wrong", f"{far:.0e}")


def cells(key):
    """(way in, way out, outcome, in words) for one network."""
    network = NETWORKS[key]
    for way in INPUTS:
        if way == "timm folder" and network.timm is None:
            yield from ((way, output, REFUSED, "timm has no detectors") for output in OUTPUTS)
            continue
        model, name = built(network, way)
        for output in OUTPUTS:
            with tempfile.TemporaryDirectory() as room:
                yield way, output, *through(model, name, network, way, output, Path(room))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    chosen = parser.parse_args().networks
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    start, counts, refusals = time.monotonic(), Counter(), Counter()
    table = Table("network", "in", *OUTPUTS, box=None)
    for key in chosen:
        rows = {}
        for way, output, outcome, told in cells(key):
            print(f"{key:12} {way:13} {output:15} {outcome:7} {' '.join(told.split())[:60]}", flush=True)
            rows.setdefault(way, []).append(told if outcome in (EQUAL, CLOSE) else outcome)
            counts[outcome] += 1
            if outcome not in (EQUAL, CLOSE):
                refusals[f"{key}: {' '.join(told.split())[:300]}"] += 1
        for way, row in rows.items():
            table.add_row(key, way, *row)
    console = Console(width=140)
    console.print(table)
    console.print(f"{sum(counts.values())} cells in {time.monotonic() - start:.0f} s: {dict(counts)}")
    for told, count in refusals.items():
        console.print(f"{count} x {told}", markup=False)


if __name__ == "__main__":
    main()
