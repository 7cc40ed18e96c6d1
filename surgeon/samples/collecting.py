"""How the images on board were taken from scikit-learn: `python -m surgeon.samples.collecting FILE` writes them."""

import sys
from pathlib import Path
from typing import Any

import numpy

from surgeon.errors import BadOption


def collect() -> dict[str, Any]:
    """The 1,797 digits in the order of the set: images of 8 x 8 pixels from 0 to 16, and labels, a byte each.

    Raises:
        BadOption: scikit-learn is not here.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise BadOption("the digits come from scikit-learn: pip install scikit-learn") from None
    found = load_digits()
    return {"images": found.images.astype(numpy.uint8), "labels": found.target.astype(numpy.uint8)}


def main(path: Path) -> None:
    """Write the images to `path`."""
    numpy.savez_compressed(path, **collect())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
