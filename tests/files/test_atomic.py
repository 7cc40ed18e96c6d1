"""Outputs appear whole or not at all: killed at any moment, and with the disk full."""

import ctypes
import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import surgeon
from surgeon.errors import BadFile
from surgeon.files import atomic
from surgeon.files.atomic import replacing
from tests.shared.bits import assert_same_bits
from tests.shared.small import tiny

pytestmark = pytest.mark.network

# One process imports everything once and forks writers, each of which is killed after some milliseconds.
SCRIPT = """
import os, random, signal, sys, threading, time
import torch
from tqdm import tqdm
# torch.fx asks for tqdm's lock, which all processes share: a child that is killed with it in hand would stop its parent.
tqdm.set_lock(threading.RLock())
torch.set_num_threads(1)
import surgeon
from tests.shared.bits import same_bits
from tests.shared.small import tiny

kills, dice = int(sys.argv[1]), random.Random(0)
models = [tiny(seed=1), tiny(seed=2)]
for target in sys.argv[2:]:
    surgeon.save(models[0], target)
    for number in range(kills):
        child = os.fork()
        if child == 0:
            while True:
                surgeon.save(models[dice.randrange(2)], target)
                surgeon.save(models[1], target)
        time.sleep(dice.random() * 0.15)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = surgeon.load(target)
        assert sum(same_bits(found, model) for model in models) == 1, f"{target}, kill {number}: neither the old file nor the new one"
        print(number)
        dice.random()
"""


def test_a_writer_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path):
    names, kills = ("out.safetensors", "out.pth", "folder"), 15
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(surgeon.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(kills), *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(number) for _ in names for number in range(kills)]
    # What a killed process leaves behind is hidden and says what it is.
    left = [path.name for path in tmp_path.iterdir() if path.name not in names]
    assert all(path.startswith(tuple(f".{name}." for name in names)) and path.endswith(".part") for path in left)


@pytest.fixture
def full_disk(tmp_path):
    """A disk that holds one small network and not two."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2800k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this machine mounts no tmpfs: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("name", ["out.safetensors", "out.pth", "folder"])
def test_a_full_disk_is_reported_and_leaves_the_old_file(name, full_disk):
    model = tiny()
    surgeon.save(model, full_disk / name)
    with pytest.raises(BadFile, match="the disk is full. What was there before is untouched"):
        surgeon.save(tiny(seed=3), full_disk / name)
    assert_same_bits(surgeon.load(full_disk / name), model)
    assert [path.name for path in full_disk.iterdir()] == [name]


def test_a_failure_inside_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "x") as fresh:
        fresh.write_text("half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_the_old_file(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x", force=True) as fresh:
        fresh.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "x").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_target_without_a_folder_is_refused(tmp_path):
    with pytest.raises(BadFile, match="there is no folder"), replacing(tmp_path / "no" / "x"):
        pass


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing(tmp_path / "link", force=True) as fresh:
        fresh.write_text("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_a_file_and_a_folder_take_each_others_place(tmp_path):
    (tmp_path / "x").write_text("file")
    with replacing(tmp_path / "x", force=True) as fresh:
        fresh.mkdir()
        (fresh / "inside").write_text("folder")
    assert (tmp_path / "x" / "inside").read_text() == "folder"
    with replacing(tmp_path / "x", force=True) as fresh:
        fresh.write_text("file again")
    assert (tmp_path / "x").read_text() == "file again" and len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def windows(monkeypatch):
    """What Windows refuses: to open a folder, to sync what was not opened for writing, and C's library without a name."""

    def no_folder(path, *args):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return os.open(path, *args)

    def for_writing(handle):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        os.fsync(handle)

    def no_library(name, *args, **kwargs):
        raise TypeError("argument of type 'NoneType' is not iterable")

    monkeypatch.setattr(atomic.sys, "platform", "win32")
    monkeypatch.setattr(atomic, "os", SimpleNamespace(**vars(os) | {"open": no_folder, "fsync": for_writing}))
    monkeypatch.setattr(ctypes, "CDLL", no_library)


@pytest.mark.parametrize("old", ["nothing", "a file", "a folder"])
@pytest.mark.parametrize("new", ["a file", "a folder"])
def test_by_the_rules_of_windows(old, new, tmp_path, windows):
    target = tmp_path / "target"
    make(target, old, "old")
    with replacing(target, force=True) as path:
        make(path, new, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert (target if new == "a file" else target / "inside").read_text() == "new"


def make(path, kind, text):
    if kind == "a folder":
        path.mkdir()
        (path / "inside").write_text(text)
    elif kind == "a file":
        path.write_text(text)


def test_an_ordinary_file_has_ordinary_rights(tmp_path):
    mask = os.umask(0o022)
    try:
        surgeon.save(tiny(), tmp_path / "x.safetensors")
    finally:
        os.umask(mask)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o644


def left(folder, name, age):
    """What a killed writer of `name` left `age` seconds ago."""
    room = folder / f".{name}.x1y2.part"
    room.mkdir()
    (room / name).write_text("half")
    os.utime(room, (time.time() - age,) * 2)
    return room


def test_what_a_killed_writer_left_is_swept_up_by_the_next_one_of_the_same_target(tmp_path):
    mine, others = left(tmp_path, "x", 100), left(tmp_path, "y", 100)
    with replacing(tmp_path / "x") as fresh:
        fresh.write_text("new")
    assert not mine.exists() and (others / "y").read_text() == "half"


def test_what_is_being_written_or_was_just_begun_stays(tmp_path):
    begun = left(tmp_path, "x", 1)
    with replacing(tmp_path / "x", force=True) as slow:
        slow.write_text("slow")
        os.utime(slow.parent, (time.time() - 100,) * 2)
        with replacing(tmp_path / "x", force=True) as fast:
            fast.write_text("fast")
        assert slow.read_text() == "slow" and (tmp_path / "x").read_text() == "fast"
    assert (tmp_path / "x").read_text() == "slow" and begun.exists()
