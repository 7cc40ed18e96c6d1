"""Files that an earlier surgeon wrote are read for ever."""

from pathlib import Path

import pytest
import torch

import surgeon
from surgeon.files import intake
from surgeon.files.recipe import FORMAT

pytestmark = pytest.mark.network
FILES = sorted(path for path in (Path(__file__).parent / "golden").iterdir() if path.suffix in (".safetensors", ".pth"))


def test_there_is_a_golden_file_for_each_format_version():
    assert {path.stem for path in FILES} == {f"v{number}" for number in range(1, FORMAT + 1)} and len(
        FILES
    ) == 2 * FORMAT


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_golden_file_is_read(path):
    model = surgeon.load(path)
    gates = surgeon.attention_modules(model)
    assert [gate.site.place for gate in gates.values()] == ["bottleneck"] * 3
    assert next(iter(gates.values())).made["options"] == {"reduction": 8}
    assert all(bool((tensor == number % 7).all()) for number, tensor in enumerate(model.state_dict().values()))
    assert model.bn1.eps == (1e-5 if path.stem == "v1" else 0.25)
    assert str(intake.open_surgeon_file(path).recipe.base) == "timm:test_resnet"
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float16}
