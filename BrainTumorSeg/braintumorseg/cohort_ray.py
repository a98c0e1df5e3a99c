"""A cohort's workers on a Ray cluster: on each node one for every GPU, or one for its cores, each with a session that stays open.

Studies travel as paths, results are written by the node that made them, so all nodes must see the same disk. A worker that is lost
(killed, out of memory, with its node) gives its studies back and is replaced; nodes that join later are taken on. Nothing that names a
patient goes through Ray's logs: actors and tasks have no names, and what goes wrong in a study comes back as a value.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from .cohort import MOST_DEATHS
from .cohort_list import Entry
from .cohort_workers import LOST, Options, Outcome, segment_entry
from .errors import BrainTumorSegError, Cancelled, ModelError, ResourceError
from .progress import Progress

__all__ = ["RayWorkers", "ray_workers"]

_LOOK_FOR_NODES_EVERY_S = 2.0
_NOBODY_FOR_S = 300.0     # a cluster that grows on demand needs minutes for its first node
_STOP_WITHIN_S = 30.0
_MOST_LOSSES = 2 * MOST_DEATHS   # of a node without one study done between; more than one bad study can cause


@contextmanager
def ray_workers(address: str, options: Options, sha256: str, out: Path, at_once: int = 0) -> Iterator[RayWorkers]:
    """Workers on the cluster at `address` ('auto', HOST:PORT, or 'local' for one of this machine that ends with the block).

    Args:
        sha256: of the weights; a node that has others is an error.
        out: the cohort's folder, absolute, as every node sees it.
        at_once: studies in work at the same time on each worker; 0 for half of its cores, 2 to 8.

    Raises ResourceError when Ray is not installed or no cluster answers.
    """
    ray = _import_ray()
    local = address == "local"
    try:
        # Ray's own lines and those of its workers stay out of the terminal.
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **({"include_dashboard": False} if local else {}))
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ResourceError(f"No Ray cluster can be used at {address} ({type(error).__name__}).",
                            "Start one with 'ray start --head --disable-usage-stats', or use --ray local.") from None
    try:
        yield RayWorkers(ray, options, sha256, out, at_once)
    finally:
        ray.shutdown()


def _import_ray():
    """The package, told beforehand to report nothing: it otherwise sends statistics of its use to its makers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise ResourceError("--ray needs the package ray, which is not installed.", "Run: python -m pip install ray") from None
    return ray


class Actor:
    """A worker, in a process of its own on some node."""

    def __init__(self, options: Options, sha256: str, out: Path):
        self._options, self._sha256, self._out = options, sha256, out
        self._turn, self._cancel = threading.Lock(), threading.Event()

    def open(self) -> BrainTumorSegError | None:
        """Open the network; what is wrong with it or with this node, None where nothing is."""
        from .io.dicom_quiet import hush
        from .model_zoo import load_model
        from .runtime import open_session

        hush()
        try:
            self._model = load_model(self._options.model)
            if self._model.card.sha256 != self._sha256:
                raise ModelError(f"A node of the cluster has other weights for {self._model.card.name} than this machine.",
                                 "Install the same version on all.")
            open_session(self._model.weights, self._options.device, self._options.threads, provider=self._options.provider,
                         variants=self._model.card.variants)
        except BrainTumorSegError as error:
            return error
        return None

    def segment(self, entry: Entry) -> Outcome:
        try:
            return segment_entry(entry, self._model, self._options, self._out, Progress(cancel=self._cancel), self._turn)
        except Cancelled:
            return LOST

    def stop(self) -> None:
        self._cancel.set()

    def pid(self) -> int:
        return os.getpid()


@dataclass(eq=False)
class _Hired:
    """An actor as the driver knows it. `opening`: the promise of its `open`, None once that is kept. in_work: promise -> study."""

    actor: object
    node: str
    at_once: int
    opening: object
    in_work: dict[object, Entry] = field(default_factory=dict)


class RayWorkers:
    """See `Workers`. `ray` is the package, connected."""

    def __init__(self, ray, options: Options, sha256: str, out: Path, at_once: int = 0):
        self._ray, self._options, self._sha256, self._out, self._at_once = ray, options, sha256, out, at_once
        self._hired: list[_Hired] = []
        self._losses: Counter[str] = Counter()
        self._looked = self._somebody = time.monotonic()
        self._hire()

    def has_room(self) -> bool:
        return self._free() is not None

    def submit(self, entry: Entry) -> None:
        one = self._free()
        one.in_work[one.actor.segment.remote(entry)] = entry

    def finished(self, seconds: float) -> list[tuple[Entry, Outcome]]:
        if not self._hired or time.monotonic() - self._looked > _LOOK_FOR_NODES_EVERY_S:
            self._hire()
        self._require_somebody()
        promises = [promise for one in self._hired for promise in ([one.opening] if one.opening is not None else one.in_work)]
        if not promises:
            time.sleep(seconds)
            return []
        self._ray.wait(promises, num_returns=1, timeout=seconds)
        kept, _ = self._ray.wait(promises, num_returns=len(promises), timeout=0)
        ended = []
        for one in list(self._hired):
            if one.opening in kept:
                self._open(one)
            for promise in [promise for promise in one.in_work if promise in kept]:
                entry = one.in_work.pop(promise)
                outcome = self._kept(one, promise)
                if outcome is not LOST:
                    self._losses[one.node] = 0
                ended.append((entry, outcome))
            if one not in self._hired:   # lost: its other studies with it
                ended += [(entry, LOST) for entry in one.in_work.values()]
        return ended

    def share(self) -> float:
        return 0.0

    def stop(self) -> list[tuple[Entry, Outcome]]:
        """Ask all to stop between two steps, which leaves nothing half-written, and wait for that; then end them."""
        for one in self._hired:
            one.actor.stop.remote()
        in_work = {promise: (one, entry) for one in self._hired for promise, entry in one.in_work.items()}
        kept = self._ray.wait(list(in_work), num_returns=len(in_work), timeout=_STOP_WITHIN_S)[0] if in_work else []
        ended = [(in_work[promise][1], self._kept(in_work[promise][0], promise)) for promise in kept]
        for one in self._hired:
            self._ray.kill(one.actor)
        self._hired.clear()
        return ended

    def _free(self) -> _Hired | None:
        """The least busy worker that has room; None where none has."""
        able = [one for one in self._hired if one.opening is None and len(one.in_work) < one.at_once]
        return min(able, key=lambda one: len(one.in_work) / one.at_once, default=None)

    def _open(self, one: _Hired) -> None:
        error = self._kept(one, one.opening)
        if isinstance(error, BrainTumorSegError):
            raise error
        one.opening = None

    def _kept(self, one: _Hired, promise) -> object:
        """What `promise` has become; LOST, and the worker is let go, when that is nothing."""
        try:
            return self._ray.get(promise)
        except self._ray.exceptions.RayError:
            if one in self._hired:
                self._hired.remove(one)
                self._losses[one.node] += 1
                self._ray.kill(one.actor)   # it may live yet, out of reach; it must not go on beside its successor
            return LOST

    def _hire(self) -> None:
        """Ask for the workers that nodes should have and have not."""
        self._looked, self._given_up = time.monotonic(), False
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        for node in self._ray.nodes():
            name, cores, gpus = node["NodeID"], int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0))
            if not node["Alive"]:
                continue
            if self._losses[name] >= _MOST_LOSSES:
                self._given_up = True
                continue
            on_gpu = gpus > 0 and self._options.device != "cpu"
            threads = min(self._options.threads, cores or self._options.threads)   # more than a node has are as many as it has
            wanted = gpus if on_gpu else cores // (threads or cores) if cores else 0
            for _ in range(wanted - sum(one.node == name for one in self._hired)):
                own = max(1, cores // wanted)
                at_once = self._at_once or min(8, max(2, own // 2))
                # Ray counts a thread more for `stop`, which must be heard while studies are in work.
                actor = self._ray.remote(Actor).options(
                    num_cpus=min(own, cores), num_gpus=int(on_gpu), max_concurrency=at_once + 1,
                    scheduling_strategy=strategy(name, soft=False)).remote(
                        replace(self._options, threads=threads or own), self._sha256, self._out)
                self._hired.append(_Hired(actor, name, at_once, actor.open.remote()))

    def _require_somebody(self) -> None:
        now = time.monotonic()
        if any(one.opening is None for one in self._hired):
            self._somebody = now
        elif now - self._somebody > _NOBODY_FOR_S or (not self._hired and self._given_up):
            raise ResourceError("No node of the Ray cluster can work: each is busy or lends no cores, or its workers end at once.",
                                "See 'ray status'; braintumorseg must be installed on every node, with the extra cpu or gpu.")
