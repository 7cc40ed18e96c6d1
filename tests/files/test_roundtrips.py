"""Every way in x every way out on a small network, as benchmarks/roundtrips.py does it on large ones."""

import logging

import pytest
import torch

from benchmarks import roundtrips
from benchmarks.roundtrips import CLOSE, EQUAL, INPUTS, OUTPUTS, REFUSED, Network
from tests.shared.small import TINY

pytestmark = pytest.mark.export

SMALL = Network(TINY, TINY, "final")
DETECTOR = roundtrips.NETWORKS["detector"]


def outcome(network, way, output, room):
    model, name = roundtrips.built(network, way)
    return roundtrips.through(model, name, network, way, output, room)


# Exports take seconds each: the ways in that differ for them.
PAIRS = [(way, output) for way in INPUTS for output in OUTPUTS if not output.endswith(("pt2", "onnx"))]
PAIRS += [
    ("nested .pth", "out.pt2"),
    (".pt2", "out.pt2"),
    ("surgeon's own", "out.pt2"),
    ("--weights", "out.onnx"),
    (".pt2", "out.onnx"),
]


@pytest.mark.parametrize(("way", "output"), PAIRS)
def test_every_pair_gives_the_network_back(way, output, tmp_path):
    if output.endswith("onnx"):
        pytest.importorskip("onnxruntime")
        if torch.__version__ < "2.7":
            pytest.skip("torch 2.6 gives no batch norm to today's onnxscript")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    found, told = outcome(SMALL, way, output, tmp_path)
    assert found == (CLOSE if output.endswith(("pt2", "onnx")) else EQUAL), told


@pytest.mark.programs
def test_a_detectors_backbone_is_written_as_a_program_only(tmp_path):
    found, text = outcome(DETECTOR, ".pt2", "folder", tmp_path)
    assert found == REFUSED and "a program without a library's name can only be written as .pt2 or .onnx" in text


def test_a_detector_comes_back_as_it_was(tmp_path):
    assert outcome(DETECTOR, "nested .pth", "out.pth", tmp_path)[0] == EQUAL


def test_a_weight_that_is_another_is_seen(tmp_path):
    model, name = roundtrips.built(SMALL, "nested .pth")
    assert roundtrips.through(model, name, SMALL, "nested .pth", "out.pth", tmp_path)[0] == EQUAL
    model.fc.bias.data += 1
    assert roundtrips.compared(model, tmp_path / "out.pth", roundtrips.image_of(model)) == ("wrong", "a tensor differs")
