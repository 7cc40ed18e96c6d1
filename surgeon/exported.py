"""Programs without Python classes: torch.export's .pt2 and ONNX, with open batch and image size where the network allows."""

import json
import warnings
from contextlib import contextmanager
import logging

import torch

from surgeon import digest
from surgeon.checkpoint import first_line
from surgeon.errors import BadFile, BadModel, BadOption
from surgeon.samples import small

RECIPE = "surgeon.json"


def write_program(model, text, path):
    """A torch.export program; the recipe lies in its archive.

    Raises:
        BadModel: the network does not export; in torch's words.
    """
    program = _program(model)
    with _quiet():
        torch.export.save(program, path, extra_files={RECIPE: json.dumps({"recipe": text, "sha256": digest.of_text(text)})})


def write_onnx(model, text, path):
    """An ONNX graph in one file, the recipe in its metadata.

    Raises:
        BadOption: the extra `onnx` is not installed. BadModel: the network does not export.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BadOption(f"ONNX needs {error.name}: pip install 'attention-surgeon[onnx]'") from None
    with _quiet():
        try:
            made = torch.onnx.export(_program(model), dynamo=True, verbose=False)
        except torch.onnx.errors.OnnxExporterError as error:
            raise BadModel(f"{type(model).__name__} does not export to ONNX: {first_line(error)}.") from error
        graph = made.model_proto
        entry = graph.metadata_props.add()
        entry.key, entry.value = "surgeon", text
        onnx.save(graph, path)


def _program(model):
    """The network as a graph for any batch and image size; for any batch at the smallest size that it takes, where sizes are fixed."""
    example = small(model, batch=2)
    open_axes = {0: torch.export.Dim("batch", min=1)}
    sizes = {axis: torch.export.Dim.DYNAMIC for axis in range(2, example.ndim)}
    failure = None
    for axes in (open_axes | sizes, open_axes, {0: torch.export.Dim.DYNAMIC}):
        try:
            with _quiet(), torch.no_grad():
                return torch.export.export(model.eval(), (example,), dynamic_shapes=(axes,), strict=False)
        # Whatever a network's own code raises under symbolic sizes; the next attempt, or the report, deals with it.
        except Exception as error:
            failure = failure or error
    raise BadModel(f"{type(model).__name__} does not export: {first_line(failure)}.") from failure


@contextmanager
def _quiet():
    """torch's exporters warn about their own inner workings; a user of surgeon can do nothing about it."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


def read_program(path):
    """(ExportedProgram, recipe text or None, its SHA-256) of a .pt2 file.

    Raises:
        BadFile: it is damaged, or no program.
    """
    extra = {RECIPE: ""}
    try:
        with _quiet():
            program = torch.export.load(path, extra_files=extra)
        told = json.loads(extra[RECIPE] or "{}")
        return program, told.get("recipe"), told.get("sha256")
    # A damaged archive can fail in any of the libraries that unpack it.
    except Exception as error:
        raise BadFile(f"{path} is no whole program of torch.export: {first_line(error)}.") from error
