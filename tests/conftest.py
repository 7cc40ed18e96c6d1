"""Every test draws the same numbers, alone and in any order; on one thread, so that no test quarrels about the cores."""

import gc
import os
import random
import re
from collections.abc import Generator
from importlib import metadata
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import settings

from surgeon.attention import naming
from surgeon.errors import TRIED, BadVersion, UnknownName
from surgeon.programs.vet import reader_kind

# What is not fast.
OTHERS = ("network", "export", "kernels", "many", "clients", "tools", "browser")

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# Of a device that is not there, torch.manual_seed notes down each time who asked for it: a whole stack, for later.
for device in (torch.cuda, torch.xpu):
    if not device.is_available():
        device.manual_seed_all = lambda seed: None
# Loaded before any test file is read: what a file sets for itself, it sets in its own decorators.
settings.register_profile("surgeon", deadline=None, derandomize=True)
settings.load_profile("surgeon")


def pytest_configure(config: pytest.Config) -> None:
    """pytest-randomly chooses the order of the tests, and not the numbers that they draw."""
    config.option.randomly_reset_seed = False


def pytest_make_parametrize_id(val: object) -> str | None:
    """Names of cases that are read: precisions by their name, and the first words of long texts."""
    if isinstance(val, torch.dtype):
        return str(val).removeprefix("torch.")
    return f"{val[:60]}..." if isinstance(val, str) and len(val) > 60 else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m fast` does not even import the files of the other marks, which import what takes seconds."""
    if config.option.markexpr == "fast" and collection_path.suffix == ".py":
        mark = rf"^pytestmark = (\[\s*)?pytest\.mark\.({'|'.join(OTHERS)})\b"
        return bool(re.search(mark, collection_path.read_text(), re.MULTILINE)) or None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(map(item.get_closest_marker, OTHERS)):
            item.add_marker("fast")
        if ".pt2" in item.nodeid:
            item.add_marker("programs")


def settle() -> None:
    """Take what is alive, modules and torch's caches, out of what the garbage collector goes through again and again.

    So do surgeon's searches for whoever holds a network: among a million objects they take seconds.
    """
    if len(gc.get_objects(generation=2)) > 50_000:
        gc.collect()
        gc.freeze()


def pytest_collection_finish() -> None:
    settle()


# Between two files no fixture of a file is left.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    yield
    if nextitem is not None and nextitem.path != item.path:
        settle()


def reseed() -> None:
    random.seed(0)
    numpy.random.seed(0)
    # torch.manual_seed asks every kind of device: a hundred times as long, some ten thousand times.
    torch.default_generator.manual_seed(0)


# A fixture that several tests share is made by whichever of them runs first: it starts from a seed of its own.
@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    reseed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    reseed()


def is_newest(library: str) -> bool:
    """Whether what is installed is no older than the newest release that surgeon names."""
    found, newest = (re.findall(r"\d+", text)[:3] for text in (metadata.version(library), TRIED[library][1]))
    return [*map(int, found)] >= [*map(int, newest)]


# What timm says of networks that came later, and torch where an older timm builds one on meta.
LACKS = "Unknown model|timm has no network|cannot be called on meta tensors|Cannot copy out of meta tensor"


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """With older releases, a test of what they lack is skipped, in the words for it; with the newest it fails."""
    try:
        return (yield)
    except (BadVersion, RuntimeError, UnknownName) as error:
        is_lack = isinstance(error, BadVersion) or re.search(LACKS, str(error))
        if not is_lack or all(map(is_newest, TRIED)):
            raise
        pytest.skip(str(error))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Commands tell a refusal as text: tests of theirs say that they need programs."""
    if item.get_closest_marker("programs") is not None:
        try:
            reader_kind()
        except BadVersion as error:
            pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _forgets_registered_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that one test gives to an attention is unknown to the next."""
    monkeypatch.setattr(naming, "_registered", {})
