"""Building without filling: in one thread, and only there."""

import threading

import torch
from torch import nn

from surgeon.networks.skip_init import skip_init


def drawn():
    return nn.init.trunc_normal_(torch.zeros(100)).any()


def test_other_threads_fill_their_weights():
    found = []
    with skip_init():
        thread = threading.Thread(target=lambda: found.append(drawn()))
        thread.start()
        thread.join()
        assert not drawn()
    assert found[0] and drawn()


def test_overlapping_threads_leave_nothing_behind():
    before, started, ended = nn.init._no_grad_trunc_normal_, threading.Event(), threading.Event()

    def build():
        with skip_init():
            started.set()
            ended.wait(10)

    thread = threading.Thread(target=build)
    with skip_init():
        thread.start()
        assert started.wait(10)
    assert drawn()
    ended.set()
    thread.join()
    assert nn.init._no_grad_trunc_normal_ is before and drawn()
