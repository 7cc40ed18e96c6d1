"""Programs without Python classes: torch.export's .pt2 and ONNX.

Sizes that a program takes as they come are called open: batch and image size, where the network allows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from surgeon.checkpoints import digest
from surgeon.checkpoints.checkpoint import first_line
from surgeon.errors import BadFile, BadModel, BadOption, BadVersion
from surgeon.networks.samples import natural, on_device, small
from surgeon.outside.process import shared, silent
from surgeon.outside.torch import EXPORT_LOGS
from surgeon.programs import vet
from surgeon.programs.unfold import is_program
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import dtype_of, form_of
from surgeon.trace.state import in_mode

RECIPE = "surgeon.json"


class Attempt(NamedTuple):
    """What to export with, the axes of the one image in it that are to be open, and what sizes that makes, in words."""

    example: Arguments
    axes: dict[int, Any] | None
    sizes: str


class Exported(NamedTuple):
    """A network as a program, and the sizes that it takes, in words."""

    program: ExportedProgram
    sizes: str


class Reading(NamedTuple):
    """What a .pt2 file holds; the recipe is None where surgeon did not write it."""

    program: ExportedProgram
    recipe: str | None
    recipe_sha256: str | None


def write_program(model: nn.Module, text: str, path: str | Path, example: Arguments | None = None) -> str:
    """A torch.export program; the recipe lies in its archive. Returns which sizes are open, in words.

    Raises:
        BadModel: the network does not export; in torch's words. BadVersion: this torch is too old.
    """
    vet.reader_kind()
    exported = _export(model, example)
    recipe = json.dumps({"recipe": text, "sha256": digest.of_text(text)})
    with _quiet():
        torch.export.save(exported.program, path, extra_files={RECIPE: recipe})
    return exported.sizes


def write_onnx(model: nn.Module, text: str, path: str | Path, example: Arguments | None = None) -> str:
    """An ONNX graph in one file, the recipe in its metadata. Returns which sizes are open, in words.

    Raises:
        BadOption: the extra `onnx` is not installed.
        BadModel: the network does not export. BadVersion: not with this torch.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BadOption(f"ONNX needs {error.name}: pip install 'attention-surgeon[onnx]'") from None
    exported = _export(model, example)
    with _quiet():
        try:
            written = torch.onnx.export(exported.program, dynamo=True, verbose=False)
        except torch.onnx.errors.OnnxExporterError as error:
            told = f"{type(model).__name__} does not export to ONNX: {first_line(error)}."
            if torch.__version__ < vet.TESTED:
                # That of torch 2.6 knows no batch norm any more, beside an onnxscript that setup.cfg asks for.
                raise BadVersion(f"{told} This is torch {torch.__version__}: try {vet.TESTED} or newer.") from error
            raise BadModel(told) from error
    assert written is not None, "without a file to write to, export returns the graph"
    graph = written.model_proto
    entry = graph.metadata_props.add()
    entry.key, entry.value = "surgeon", text
    onnx.save(graph, path)
    return exported.sizes


def _export(model: nn.Module, example: Arguments | None) -> Exported:
    """The network as a graph: with batch and image size open, else the batch alone, else neither."""
    failures = []
    for attempt in _attempts(model, example):
        args, kwargs = attempt.example
        try:
            with _quiet(), torch.no_grad(), in_mode(model, False), _by_name(model, attempt.axes):
                shapes = None if attempt.axes is None else (attempt.axes,)
                program = torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False)
                return Exported(program, attempt.sizes)
        # A network's own code may raise anything under symbolic sizes. If no attempt succeeds, the first error is told.
        except Exception as error:
            failures.append(error)
    reason = first_line(failures[0])
    raise BadModel(f"{type(model).__name__} does not export: {reason}.{_instead(model)}") from failures[0]


@contextmanager
def _by_name(model: nn.Module, axes: dict[int, Any] | None) -> Iterator[None]:
    """A program that was folded back into modules takes its image as *args: here by a name, as other networks do.

    What torch 2.9 checks of open sizes it finds by that name alone.
    """
    if axes is None or not is_program(model):
        yield
        return
    forward = model.forward
    vars(model)["forward"] = lambda x: forward(x)
    try:
        yield
    finally:
        del vars(model)["forward"]


def _instead(model: nn.Module) -> str:
    """What to export of a network that can't be: boxes and masks depend on numbers, the maps below them do not."""
    if not isinstance(getattr(model, "backbone", None), nn.Module):
        return ""
    return (
        " Its backbone does: torch.export.export(model.backbone, (torch.zeros(1, 3, 320, 320),)), "
        "or torch.onnx.export(model.backbone, ..., dynamo=True), with model = surgeon.load(FILE)."
    )


def _attempts(model: nn.Module, example: Arguments | None) -> Iterator[Attempt]:
    """Ways to export a model, the one with the most open sizes first."""
    if example is not None and not _is_one_image(example):
        # Which axes of several inputs go together nobody says.
        yield Attempt(on_device(example, model), None, f"inputs of {form_of(example, dtype_of(model))}")
        return
    own: Tensor | None = on_device(example, model).args[0] if example else None
    batch = torch.export.Dim("batch", min=1)
    if not _has_windows(model):
        image = small(model, batch=2) if own is None else _several(own)
        sides = dict.fromkeys(range(2, image.ndim), torch.export.Dim.DYNAMIC)
        yield Attempt(Arguments((image,), {}), {0: batch, **sides}, "open batch and image size")
    image = natural(model, batch=2) if own is None else own
    fixed = " x ".join(map(str, image.shape[2:]))
    yield Attempt(Arguments((_several(image),), {}), {0: batch}, f"open batch, images of {fixed}")
    yield Attempt(Arguments((image,), {}), {}, f"batches of {len(image)}, images of {fixed}")


def _is_one_image(example: Arguments) -> bool:
    is_alone = len(example.args) == 1 and not example.kwargs
    return is_alone and isinstance(example.args[0], Tensor) and example.args[0].ndim > 2


def _several(image: Tensor) -> Tensor:
    """The image, twice if it is alone: torch takes a batch of one for a constant."""
    return torch.cat([image, image]) if len(image) == 1 else image


def _has_windows(model: nn.Module) -> bool:
    """Shifted windows at open sizes keep torch's symbolic algebra busy for longer than anyone waits."""
    return any("relative_position_bias_table" in key or "cpb_mlp" in key for key in model.state_dict())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporters say of their own inner workings, which no user can act on.

    A failed export prints its whole graph, and some releases of torch each step.
    """
    with silent(), shared(_unlogged):
        yield


@contextmanager
def _unlogged() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in EXPORT_LOGS]
    levels = {logger: logger.level for logger in loggers}
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def read_program(path: Path, *, allow_pickle: bool = False) -> Reading:
    """The program and the recipe in a .pt2 file.

    Args:
        allow_pickle: read what might run code as well.

    Raises:
        BadFile: it is damaged, no program, or might run code. BadVersion: this torch is too old.
    """
    extra: dict[str, Any] = {RECIPE: ""}
    try:
        with _quiet():
            if not allow_pickle:
                vet.archive(path)
            program = torch.export.load(path, extra_files=extra)
        label = json.loads(extra[RECIPE] or "{}")
        return Reading(program, label.get("recipe"), label.get("sha256"))
    except (BadFile, BadVersion):
        raise
    # A damaged archive can fail in any of the libraries that unpack it.
    except Exception as error:
        raise BadFile(f"{path} is no whole program of torch.export: {first_line(error)}.") from error
