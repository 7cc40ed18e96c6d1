"""What kernels read and write, counted in Triton's interpreter from their own loads and stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triton.runtime import interpreter


def traffic(run: Callable[[], Any]) -> int:
    """Bytes that `run` loads and stores; of tiles that reach over the edge of a map, what lies in it."""
    builder, total = interpreter.InterpreterBuilder, 0
    load, store = builder.create_masked_load, builder.create_masked_store

    def loading(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        nonlocal total
        total += int(mask.data.sum()) * _bytes(pointers)
        return load(self, pointers, mask, *rest)

    def storing(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        nonlocal total
        total += int(mask.data.sum()) * _bytes(pointers)
        return store(self, pointers, value, mask, *rest)

    builder.create_masked_load, builder.create_masked_store = loading, storing
    try:
        run()
    finally:
        builder.create_masked_load, builder.create_masked_store = load, store
    return total


def _bytes(pointers: Any) -> int:
    return int(pointers.get_element_ty().primitive_bitwidth) // 8
