"""How long, and with how much memory, a checkpoint of gigabytes is converted; ratios to a copy through safetensors.

    python benchmarks/convert.py [NETWORK] [FOLDER] [ROUNDS]

timm:regnety_2560 has 1.28 billion weights, 5.1 GB. Each measurement is a process of its own; its peak is what
the kernel counts (VmHWM), files that are mapped into memory included.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

COPY = """
import safetensors.torch
def work(source, target, name):
    safetensors.torch.save_file(safetensors.torch.load_file(source), target)
"""
CONVERT = """
from surgeon.cli import run
def work(source, target, name):
    assert not run(["inject", source, "--arch", name, "--attention", "cbam", "--where", "bottleneck", "--output", target, "--force", "--quiet"])
"""
# Imports are not what is measured: they take seconds of their own, whatever the file's size.
MEASURED = """
import os, sys, time, torch
start = time.perf_counter()
work(*sys.argv[1:])
# A copy that is still in the kernel's buffers is no copy yet.
os.sync()
print(time.perf_counter() - start)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def make(name, path):
    """A checkpoint of random weights; random in blocks, so that it is made in seconds."""
    import safetensors.torch
    import torch

    from surgeon import networks

    block = torch.randn(1 << 22)
    tensors = {}
    for key, value in networks.build(name, empty=True).state_dict().items():
        flat = block.repeat(value.numel() // block.numel() + 1)[: value.numel()]
        tensors[key] = (
            (flat.reshape(value.shape).clone() * 0.01) if value.is_floating_point() else torch.zeros_like(value)
        )
        if key.endswith("running_var"):
            tensors[key].fill_(1)
    safetensors.torch.save_file(tensors, path)


def measure(script, *arguments):
    """(seconds, peak in bytes) of one process."""
    # A fair start: nothing of the last process waits to be written.
    subprocess.run(["sync"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", script + MEASURED, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), int(peak) * 1024


def main(name="timm:regnety_2560", folder=None, rounds=3):
    with tempfile.TemporaryDirectory(dir=folder) as room:
        source, target = Path(room) / "in.safetensors", Path(room) / "out.safetensors"
        subprocess.run(
            [
                sys.executable,
                "-c",
                f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import convert; convert.make({name!r}, {str(source)!r})",
            ],
            check=True,
        )
        size = source.stat().st_size
        rows = {}
        for label, script in (("copy", COPY), ("convert", CONVERT)) * int(rounds):
            rows.setdefault(label, []).append(measure(script, source, target, name))
            print(f"{label:8} {rows[label][-1][0]:7.1f} s", flush=True)
            target.unlink()
    print(f"{name}: {size / 1e9:.2f} GB, medians of {rounds} runs each")
    medians = {label: [median(column) for column in zip(*measured)] for label, measured in rows.items()}
    for label, (seconds, peak) in medians.items():
        print(f"{label:8} {seconds:7.1f} s   peak {peak / 1e9:6.2f} GB = {peak / size:.2f} x the file")
    print(f"convert / copy: {medians['convert'][0] / medians['copy'][0]:.2f} in time")


if __name__ == "__main__":
    main(*sys.argv[1:])
