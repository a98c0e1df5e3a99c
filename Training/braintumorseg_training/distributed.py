"""Several processes as one run, started by torchrun: data parallel, one GPU (or a share of the CPU) a process.

Two processes with a batch of one make the steps of one process with a batch of two: the stream's patches are dealt out in order, the loss is
that of the whole batch (Dice over a batch is not the mean of its parts' Dice, so outputs are gathered, as nnU-Net does), and the gradients
are summed. That is what DistributedDataParallel does, less its hooks on single weights, which forbid parts that are frozen for a while,
layers without a gradient and gradients over several batches; what it gains by sending while it computes is small for networks of 10 M weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from braintumorseg.errors import Cancelled, InputError, ModelError, ResourceError

from .failures import failure_of

__all__ = ["Ranks", "is_first", "join", "pick_device", "together"]

# The others wait while the first one validates: hours on a large cohort.
_PATIENCE = timedelta(hours=6)
_store = None  # the key-value store that torchrun's processes share; None alone


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run: `rank` of `size`, computing on `device`. Alone, every method does nothing."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, writes and speaks."""
        return self.rank == 0

    def gather(self, value):
        """The batches (B, ...) of all processes one after the other: (size * B, ...). Gradients flow into this one's own part.

        A tuple is gathered part by part.
        """
        if self.size == 1:
            return value
        if isinstance(value, tuple):
            return tuple(self.gather(part) for part in value)
        with _among_the_living():
            parts = [torch.empty_like(value, memory_format=torch.contiguous_format) for _ in range(self.size)]
            dist.all_gather(parts, value.detach().contiguous())
        parts[self.rank] = value
        return torch.cat(parts)

    def sum_gradients(self, network: torch.nn.Module) -> None:
        """Each gradient becomes the sum over the processes. The weights that have one are the same everywhere."""
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])  # one message instead of a hundred
        with _among_the_living():
            dist.all_reduce(flat)
        for gradient, summed in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(summed.view(gradient.shape))

    def copy_first(self, network: torch.nn.Module) -> None:
        """The first one's weights in every process."""
        if self.size > 1:
            with _among_the_living():
                for tensor in network.state_dict().values():
                    dist.broadcast(tensor, 0)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.size == 1:
            return flag
        with _among_the_living():
            up = torch.tensor(int(flag), device=self.device)
            dist.all_reduce(up, dist.ReduceOp.MAX)
        return bool(up.item())

    def share(self, value):
        """The first one's value, anything that pickles, in every process."""
        if self.size == 1:
            return value
        with _among_the_living():
            box = [value]
            dist.broadcast_object_list(box, 0, device=self.device)
        return box[0]


def join(device: str = "auto") -> Ranks:
    """This process's place: torchrun's, as its environment variables tell, or alone. Raises ModelError when the device is not there."""
    rank, size, local = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))
    where = pick_device(device)
    if where.type == "cuda":
        here, there = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
        if here > there:
            raise ModelError(f"torchrun started {here} processes on this machine and torch sees {there} GPU{'s' * (there > 1)}.",
                             f"Start it with --nproc-per-node {there}, or use --device cpu.")
        where = torch.device("cuda", local)
        torch.cuda.set_device(where)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if where.type == "cuda" else "gloo", store=dist.PrefixStore("run", _shared_store()),
                                rank=rank, world_size=size, timeout=_PATIENCE)
    return Ranks(where, rank, size)


def pick_device(name: str) -> torch.device:
    """auto, cpu or cuda as a torch device. Raises ModelError when there is no GPU to be used."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("--device cuda was asked for and torch sees no CUDA GPU.", "Use --device cpu, or install a CUDA build of torch.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def is_first() -> bool:
    """Whether this process speaks for the run."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def together(device: str) -> Iterator[None]:
    """Around a verb: of an error, or of a stop, in several processes only the first one to notice speaks; the others end with it."""
    store = _shared_store()
    try:
        join(device)  # first of all, so that the end of one process reaches those that are still reading
        yield
    except BaseException as error:
        if store is not None and not _is_first_to_fail(store):
            raise SystemExit(130 if isinstance(error, (Cancelled, KeyboardInterrupt)) else 1) from None
        raise
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _among_the_living() -> Iterator[None]:
    """Around a message between processes: a peer that has gone becomes a ResourceError. What is wrong with this one is told as it is."""
    try:
        yield
    except RuntimeError as error:
        if failure_of(error) is not None:
            raise
        reason = (str(error).splitlines() or [""])[0]
        raise ResourceError(f"Another process of this run has ended ({reason}).",
                            "Read what it said; the same command goes on from the last checkpoint.") from error


def _shared_store():
    global _store
    if _store is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        try:
            _store, _, _ = next(rendezvous("env://", timeout=timedelta(minutes=5)))
        except (ValueError, RuntimeError) as error:
            raise InputError(f"WORLD_SIZE is set and the other processes are not found ({(str(error).splitlines() or [''])[0]}).",
                             "Start with torchrun, or unset WORLD_SIZE.") from None
    return _store


def _is_first_to_fail(store) -> bool:
    try:
        rank = os.environ.get("RANK", "0")
        return store.compare_set("failed", "", rank).decode() == rank
    except RuntimeError:  # the store has ended with the one that failed
        return False
