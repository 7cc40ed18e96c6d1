"""SHA-256 of tensors, so that one changed bit in a file of gigabytes has a name."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

from surgeon.errors import BadFile


def of_tensor(tensor):
    """SHA-256 of a tensor's type, shape and bytes, as hexadecimal text."""
    import torch  # here alone: texts are hashed by commands that never need it

    plain = tensor.detach().cpu().contiguous()
    told = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)} ".encode())
    if plain.numel():
        told.update(memoryview(plain.reshape(-1).view(torch.uint8).numpy()))
    return told.hexdigest()


def of_tensors(tensors, *, progress=None):
    """Key -> SHA-256 for a whole state dict, on all cores: hashlib lets go of Python's lock.

    progress: called with the number of bytes of each tensor that is done.
    """
    def one(item):
        key, tensor = item
        told = of_tensor(tensor)
        if progress:
            progress(tensor.numel() * tensor.element_size())
        return key, told

    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        return dict(pool.map(one, tensors.items()))


def of_text(text):
    """SHA-256 of text, as hexadecimal text."""
    return hashlib.sha256(text.encode()).hexdigest()


def of_all(digests):
    """One SHA-256 over a table of key -> SHA-256, in its order."""
    return of_text(json.dumps(list(digests.items())))


def compare(tensors, digests, what, *, progress=None):
    """Nothing where each of `tensors` has the SHA-256 that `digests` (key -> SHA-256) gives it.

    Raises:
        BadFile: one has not; names the first.
    """
    for key, told in of_tensors({key: tensors[key] for key in digests}, progress=progress).items():
        if told != digests[key]:
            raise BadFile(f"{what}: the weights of {key!r} are not those that were saved (SHA-256 {told[:12]}..., "
                          f"recorded {digests[key][:12]}...). The file is damaged: get it again.")
