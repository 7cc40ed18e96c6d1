"""Whether two values have the same bits, and where they first have not."""

from collections.abc import Iterator
from typing import Any

import torch


def assert_same_bits(one: Any, other: Any) -> None:
    """Fail at the first of the `differences`, and say how many there are."""
    __tracebackhide__ = True
    found = list(differences(one, other))
    if found:
        raise AssertionError(found[0] + (f" ({len(found)} differences)" if found[1:] else ""))


def same_bits(one: Any, other: Any) -> bool:
    return next(differences(one, other), None) is None


def differences(one: Any, other: Any, at: str = "") -> Iterator[str]:
    """What differs between two networks, tensors, or nests of dicts, lists and plain values; the order of keys counts.

    >>> list(differences({"a": [1, torch.zeros(2)]}, {"a": [1, torch.tensor([0.0, 3.0])]}))
    ['a.1: 1 of 2 numbers differ, by up to 3']
    """
    one, other = (value.state_dict() if isinstance(value, torch.nn.Module) else value for value in (one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        yield from (f"{at or 'tensor'}: {what}" for what in of_tensors(one.detach(), other.detach()))
    elif isinstance(one, dict) and isinstance(other, dict):
        yield from of_keys(list(one), list(other), at)
        for key in filter(other.__contains__, one):
            yield from differences(one[key], other[key], f"{at}.{key}".lstrip("."))
    elif isinstance(one, list | tuple) and type(one) is type(other):
        yield from [f"{at or type(one).__name__}: {len(one)} values, not {len(other)}"] * (len(one) != len(other))
        for index, pair in enumerate(zip(one, other)):
            yield from differences(*pair, f"{at}.{index}".lstrip("."))
    elif type(one) is not type(other) or one != other:
        yield f"{at or 'value'}: {said(one)}, not {said(other)}"


def of_keys(one: list, other: list, at: str) -> Iterator[str]:
    place = f"{at}: " if at else ""
    yield from (f"{place}{key!r} is missing" for key in other if key not in one)
    yield from (f"{place}{key!r} is one too many" for key in one if key not in other)
    if one != other and set(one) == set(other):
        yield next(f"{place}{a!r} stands where {b!r} should" for a, b in zip(one, other) if a != b)


def of_tensors(one: torch.Tensor, other: torch.Tensor) -> Iterator[str]:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        yield f"{said(one)}, not {said(other)}"
    elif not torch.equal(as_bytes(one), as_bytes(other)):
        count = int((as_bytes(one) != as_bytes(other)).any(-1).sum())
        # Zeros of both signs differ by 0, and so do NaNs of other bits by NaN.
        gap = (one.double() - other.double()).abs().max().item()
        yield f"{count} of {one.numel()} numbers differ, by up to {gap:.3g}"


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """One row of bytes for each number."""
    return tensor.contiguous().view(-1, 1).view(torch.uint8)


def said(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{' x '.join(map(str, value.shape)) or 'one number'} of {str(value.dtype).removeprefix('torch.')}"
    return f"{value!r}"
