"""Fine-tuning that is killed at random moments, against the same that is not: are the curves the same, bit for bit?

    python -m benchmarks.kills --times 10

`examples/finetune.py` is run as users run it, and its process killed (SIGKILL) wherever it happens to be: before its
first state is on disk, while one is written, in the middle of a step. The same command goes on each time.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "examples" / "finetune.py"
# Small enough that a kill hits each part of a run; a state on disk every third step.
WORDS = "--epochs 4 --batch 256 --save-every 3".split()


def command(output: Path) -> list[str]:
    """What is typed."""
    return [sys.executable, str(SCRIPT), "--output", str(output), *WORDS]


def finished(output: Path) -> None:
    """Run to the end."""
    subprocess.run(command(output), check=True, capture_output=True, env=_one_thread())


def killed(output: Path, moment: float, *, after: str = "last.pt") -> bool:
    """Run, and kill `moment` seconds after the file `after` is there (from the start: ""); False if it had ended."""
    before = (output / after).stat().st_mtime_ns if (output / after).is_file() else 0
    process = subprocess.Popen(command(output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_one_thread())
    while after and process.poll() is None:
        if (output / after).is_file() and (output / after).stat().st_mtime_ns != before:
            break
        time.sleep(0.002)
    time.sleep(moment)
    was_running = process.poll() is None
    process.kill()
    process.wait()
    return was_running


def _one_thread() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def curve(output: Path) -> list[str]:
    """The losses, as they are written."""
    with open(output / "curve.csv", newline="") as file:
        return [row["loss"] for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10, help="how often it is killed (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    moments, kills = random.Random(args.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = Path(folder) / "whole", Path(folder) / "broken"
        finished(whole)
        while kills < args.times:
            # Now and then at once, mostly when the run is past what it takes to start.
            early = moments.random() < 0.3
            was_running = killed(broken, moments.uniform(0, 3 if early else 0.4), after="" if early else "last.pt")
            kills += was_running
            there = len(curve(broken)) if (broken / "curve.csv").exists() else 0
            print(f"{kills}: {'killed' if was_running else 'had ended'}; {there} of {len(curve(whole))} steps on disk")
            if not was_running:
                break
        finished(broken)
        same = curve(broken) == curve(whole)
        print(
            f"killed {kills} times: the curves of {len(curve(whole))} steps are {'the same' if same else 'DIFFERENT'}"
        )
        sys.exit(not same)


if __name__ == "__main__":
    main()
