"""A torch.export program as the network that a library knows it by: unfolded, and held against that network."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor, nn
from torch.export import ExportedProgram

from surgeon.checkpoints.checkpoint import first_line
from surgeon.errors import BadFile, BadOption
from surgeon.networks.blueprint import Base
from surgeon.programs import unfold
from surgeon.trace.outputs import max_abs_diff, outputs

# Of the largest output: how far a program's may lie from those of the network that it was made of.
MOST_ROUNDING = 1e-4


def unfolded(program: ExportedProgram, path: Path) -> nn.Module:
    """The program at `path` as a network.

    Raises:
        BadFile: it can't be unfolded into modules.
    """
    try:
        return unfold.network(program)
    # Whole, and yet no graph that Python can run: unfolding can fail in any part of torch.
    except Exception as error:
        raise BadFile(f"{path} can't be unfolded into modules: {first_line(error)}.") from error


def refuse_another_function(program: ExportedProgram, path: Path, model: nn.Module, base: Base) -> None:
    """A program may have the keys of a network and compute something else: another epsilon, another activation.

    Raises:
        BadOption: on the program's own example the two give different outputs.
    """
    example = program.example_inputs
    if example is None:
        return
    difference = _difference(outputs(unfolded(program, path), *example), outputs(model, *example))
    if difference:
        raise BadOption(
            f"{path} has the weights of {base}, and computes something else: {difference}. "
            "Leave --arch out to put attention into the program itself."
        )


def _difference(answer: Sequence[Tensor], expected: Sequence[Tensor]) -> str:
    """In what two lists of outputs differ, in words; "" where they are the same but for rounding."""
    found_shapes, expected_shapes = _shapes(answer), _shapes(expected)
    if found_shapes != expected_shapes:
        return f"{found_shapes or 'nothing'} and not {expected_shapes or 'nothing'}"
    distance = max_abs_diff(expected, answer)
    largest = max((float(part.abs().max()) for part in expected), default=0.0)
    return "" if distance <= MOST_ROUNDING * largest else f"outputs of up to {largest:.3g} differ by {distance:.3g}"


def _shapes(tensors: Iterable[Tensor]) -> str:
    """`1 x 1000, 1 x 64`."""
    return ", ".join(" x ".join(map(str, tensor.shape)) for tensor in tensors)
