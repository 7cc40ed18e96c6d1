"""Programs without Python classes: torch.export's .pt2 and ONNX, with open batch and image size where the network allows."""

import json
import logging
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO

import torch

from surgeon.checkpoints import digest
from surgeon.checkpoints.checkpoint import first_line
from surgeon.errors import BadFile, BadModel, BadOption
from surgeon.networks.samples import natural, small
from surgeon.programs import vet
from surgeon.programs.unfold import is_program

RECIPE = "surgeon.json"


def write_program(model, text, path, example=None):
    """A torch.export program; the recipe lies in its archive. Returns which sizes are open, in words.

    Raises:
        BadModel: the network does not export; in torch's words.
    """
    program, told = _program(model, example)
    with _quiet():
        torch.export.save(program, path, extra_files={RECIPE: json.dumps({"recipe": text, "sha256": digest.of_text(text)})})
    return told


def write_onnx(model, text, path, example=None):
    """An ONNX graph in one file, the recipe in its metadata. Returns which sizes are open, in words.

    Raises:
        BadOption: the extra `onnx` is not installed. BadModel: the network does not export.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BadOption(f"ONNX needs {error.name}: pip install 'attention-surgeon[onnx]'") from None
    program, told = _program(model, example)
    with _quiet():
        try:
            graph = torch.onnx.export(program, dynamo=True, verbose=False).model_proto
        except torch.onnx.errors.OnnxExporterError as error:
            raise BadModel(f"{type(model).__name__} does not export to ONNX: {first_line(error)}.") from error
    entry = graph.metadata_props.add()
    entry.key, entry.value = "surgeon", text
    onnx.save(graph, path)
    return told


def _program(model, example):
    """(the network as a graph, which of its sizes are open): batch and image size, else batch, else none."""
    failure = None
    for told, image, axes in _attempts(model, example):
        # A program that was folded back into modules takes whatever it takes as *args.
        axes = ((axes,),) if is_program(model) else (axes,)
        try:
            with _quiet(), torch.no_grad():
                return torch.export.export(model.eval(), (image,), dynamic_shapes=axes, strict=False), told
        # Whatever a network's own code raises under symbolic sizes; the next attempt, or the report, deals with it.
        except Exception as error:
            failure = failure or error
    raise BadModel(f"{type(model).__name__} does not export: {first_line(failure)}.{_instead(model)}") from failure


def _instead(model):
    """What can be exported of a network that can't: boxes and masks depend on numbers, the maps below them do not."""
    if not isinstance(getattr(model, "backbone", None), torch.nn.Module):
        return ""
    return (" Its backbone does: torch.export.export(model.backbone, (torch.zeros(1, 3, 320, 320),)), "
            "or torch.onnx.export(model.backbone, ..., dynamo=True), with model = surgeon.load(FILE).")


def _attempts(model, example):
    """(what is open, image, open axes), the most open first.

    Args:
        example: (args, kwargs) that the model is known to run on, or None.
    """
    batch = torch.export.Dim("batch", min=1)
    if not _has_windows(model):
        image = example[0][0] if example else small(model, batch=2)
        yield "open batch and image size", image, {0: batch} | dict.fromkeys(range(2, image.ndim), torch.export.Dim.DYNAMIC)
    image = example[0][0] if example else natural(model, batch=2)
    fixed = " x ".join(map(str, image.shape[2:]))
    yield f"open batch, images of {fixed}", image, {0: batch}
    yield f"batches of {len(image)}, images of {fixed}", image, {}


def _has_windows(model):
    """Shifted windows at open sizes keep torch's symbolic algebra busy for longer than anyone waits."""
    return any("relative_position_bias_table" in key or "cpb_mlp" in key for key in model.state_dict())


@contextmanager
def _quiet():
    """torch's exporters warn about their own inner workings; a user of surgeon can do nothing about it."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._export")]
    levels = [log.level for log in logs]
    # A failed export prints its whole graph, and some releases of torch each step.
    with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        try:
            for log in logs:
                log.setLevel(logging.CRITICAL)
            yield
        finally:
            for log, level in zip(logs, levels):
                log.setLevel(level)


def read_program(path, *, allow_pickle=False):
    """(ExportedProgram, recipe text or None, its SHA-256) of a .pt2 file.

    Args:
        allow_pickle: read what might run code as well.

    Raises:
        BadFile: it is damaged, no program, or might run code.
    """
    extra = {RECIPE: ""}
    try:
        with _quiet():
            if not allow_pickle:
                vet.archive(path)
            program = torch.export.load(path, extra_files=extra)
        told = json.loads(extra[RECIPE] or "{}")
        return program, told.get("recipe"), told.get("sha256")
    except BadFile:
        raise
    # A damaged archive can fail in any of the libraries that unpack it.
    except Exception as error:
        raise BadFile(f"{path} is no whole program of torch.export: {first_line(error)}.") from error
