"""What is changed for the whole process is changed for one thread, or once, and is as it was afterwards."""

import argparse
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
import torch

from surgeon.checkpoints import checkpoint
from surgeon.outside.process import quiet, shared, silent


def overlapping(make):
    """Two threads inside `make`, of which the first to come is the first to go."""
    steps = [threading.Event() for _ in range(3)]

    def first():
        with make():
            steps[0].set()
            assert steps[1].wait(30)
        steps[2].set()

    def second():
        assert steps[0].wait(30)
        with make():
            steps[1].set()
            assert steps[2].wait(30)

    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(first), pool.submit(second)]:
            job.result()


@pytest.mark.parametrize("make", [quiet, silent])
def test_warnings_are_dropped_inside_and_shown_afterwards(make):
    overlapping(make)
    with pytest.warns(UserWarning, match="outside"):
        with make():
            warnings.warn("inside")
        warnings.warn("outside")


@pytest.mark.parametrize("make", [quiet, silent])
def test_another_thread_is_warned_meanwhile(make):
    with pytest.warns(UserWarning, match="elsewhere"), make():
        warnings.warn("here")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(warnings.warn, "elsewhere").result()


def test_python_does_not_repeat_what_it_has_shown():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(3):
            with quiet():
                pass
            warnings.warn("said once")
    # The filter comes in the first time that it is needed, and stays.
    assert len(shown) == 1


def test_what_this_thread_prints_is_dropped_and_what_others_print_is_not(capsys):
    before = sys.stdout, sys.stderr
    with silent():
        print("here")
        print("here", file=sys.stderr)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(print, "elsewhere").result()
    overlapping(silent)
    assert capsys.readouterr() == ("elsewhere\n", "")
    assert (sys.stdout, sys.stderr) == before


def test_a_stream_that_somebody_puts_in_place_stays(monkeypatch):
    mine = object()
    with silent():
        monkeypatch.setattr(sys, "stdout", mine)
    assert sys.stdout is mine


def test_what_is_shared_is_entered_once_and_left_once():
    seen = []

    @contextmanager
    def make():
        seen.append("in")
        yield
        seen.append("out")

    overlapping(lambda: shared(make))
    assert seen == ["in", "out"]
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(shared(make))
    assert seen == ["in", "out"] * 2


def test_what_can_not_be_entered_is_tried_again():
    def broken():
        raise OSError("not now")

    for _ in range(2):
        with pytest.raises(OSError, match="not now"), shared(broken):
            pass


def test_two_checkpoints_are_read_at_once(tmp_path, monkeypatch):
    path = tmp_path / "with_arguments.pth"
    torch.save({"state_dict": {"a.weight": torch.zeros(2)}, "args": argparse.Namespace(lr=1)}, path)
    allowed = torch.serialization.get_safe_globals()
    barrier, read = threading.Barrier(2), torch.load

    def slow(*args, **kwargs):
        # Both are inside; the second to read goes on when the first has left.
        late = barrier.wait(30)
        if late:
            assert first.wait(30)
        return read(*args, **kwargs)

    first = threading.Event()
    monkeypatch.setattr(torch, "load", slow)

    def opened():
        found = checkpoint.read(path)
        first.set()
        return found

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(opened) for _ in range(2)]
        assert [list(job.result().tensors) for job in jobs] == [["a.weight"]] * 2
    assert set(torch.serialization.get_safe_globals()) == set(allowed)
