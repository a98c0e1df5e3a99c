"""Real workers of a real loader that fail in every way that a run has met, and what torch says when a GPU is full."""

import os
import signal
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from braintumorseg.errors import InputError, ResourceError
from braintumorseg_training.failures import failure_of, naming_failures


class Failing(Dataset):
    """`fail` is called for the first input."""

    def __init__(self, fail):
        self.fail = fail

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index == 0:
            self.fail()
        return torch.zeros(3)


def end(number):
    os.kill(os.getpid(), number)


def damaged():
    raise InputError("The packed case p1 is damaged.", "Pack it again.")


@pytest.mark.parametrize("fail, kind, words", [
    (partial(end, signal.SIGKILL), ResourceError, "A process that makes patches was killed, most likely because the memory was full.*--workers"),
    (partial(end, signal.SIGBUS), ResourceError, r"shared memory \(/dev/shm\), and that is full.*--workers \(0 needs none of it\).*--shm-size"),
    (partial(np.zeros, 10**15), ResourceError, "does not fit into this machine's memory.*patch or batch"),
    (partial(torch.zeros, 10**15), ResourceError, "does not fit into this machine's memory.*patch or batch"),
    (damaged, InputError, r"^The packed case p1 is damaged\. Pack it again\.$")])
def test_what_ends_a_worker_is_one_line_that_says_what_helps(fail, kind, words):
    with pytest.raises(kind, match=words) as error, naming_failures():
        list(DataLoader(Failing(fail), num_workers=1))
    assert "Traceback" not in str(error.value)


def test_a_worker_that_is_killed_while_it_hands_something_over_is_told_alike():
    for cut_off in (ConnectionResetError(104, "Connection reset by peer"), EOFError()):
        assert "A process that makes patches was killed" in str(failure_of(cut_off))
    assert failure_of(BrokenPipeError()) is None      # whoever read our output went away


@pytest.mark.parametrize("raised", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 11 GiB of which 1.2 GiB is free."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call."),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")])
def test_a_full_gpu_is_named_with_what_would_fit(raised):
    with pytest.raises(ResourceError, match=r"does not fit into the GPU's memory \(.*smaller patch or batch") as error, naming_failures():
        raise raised
    assert "\n" not in str(error.value)
    assert "capacity" not in str(error.value)


def test_other_errors_are_left_as_they_are():
    for other in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError("Connection closed by peer"), InputError("No case.")):
        assert failure_of(other) is None
        with pytest.raises(type(other), match=str(other)), naming_failures():
            raise other
