"""Real child processes that run `braintumorseg-train`, begun in milliseconds: a server process imports torch once and forks for each."""

import multiprocessing
import os
import sys
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["braintumorseg_training.train", "braintumorseg_training.transfer", "braintumorseg_training.cli", "torch._dynamo",
                                 "matplotlib.backends.backend_agg", "children"])


class Child:
    """`braintumorseg-train ARGUMENTS` in a process of its own, on one thread; what it says is collected in two files under `folder`.

    environment: variables on top. largest_file: bytes; writing more fails as on a full disk.
    """

    def __init__(self, arguments, folder: Path, *, environment=None, largest_file: int | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self.out, self.err = folder / "stdout", folder / "stderr"
        self.process = _context.Process(target=_run, args=([str(one) for one in arguments], str(self.out), str(self.err), environment or {},
                                                           largest_file))
        self.process.start()
        self.pid = self.process.pid

    def wait(self, timeout: float = 120) -> int:
        """The exit status; minus the signal's number for a killed one."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"still running after {timeout} s: {self.err.read_text()}")
        return self.process.exitcode


def _run(arguments, out, err, environment, largest_file):
    for number, path in ((1, out), (2, err)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    os.environ.update(environment)
    import torch

    from braintumorseg_training import run
    from braintumorseg_training.cli import main

    run.draw_curves = lambda runs, path: None   # which takes longer than all else that a small run does
    torch.set_num_threads(1)
    if largest_file is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.exit(main(arguments))
