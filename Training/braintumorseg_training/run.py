"""One run: its network, how far it is, and what it writes and says. The steps themselves are in `train`."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from braintumorseg.errors import BrainTumorSegError

from .checkpoints import (
    BEST,
    Progress,
    find_checkpoint,
    has_checkpoint,
    load_weights,
    refuse_another,
    save_best,
    save_checkpoint,
    writing,
)
from .config import RunConfig, write_config
from .curves import CURVES, draw_curves
from .distributed import Ranks
from .interrupt import Stop
from .run_log import RunLog, cut_log
from .run_split import keep_split, learned_by, refuse_another_split
from .schedule import build_optimiser, learning_rate
from .task import Task

__all__ = ["Run"]


class Run:
    """Begun, or taken up where its last checkpoint left it.

    network, optimiser: in training, on the device of `ranks`.
    average: the network with the averaged (EMA) weights, which are validated and exported.
    progress: how far.
    """

    def __init__(self, config: RunConfig, task: Task, out: Path, ranks: Ranks, say: Callable[[str], None],
                 start: Callable[[torch.nn.Module], None] | None):
        self.config, self.task, self.out, self.ranks = config, task, out, ranks
        self.say = say if ranks.first else _silent
        self.log, self.undrawn = RunLog(out, task.scores, self.say), False
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.network = task.build().to(ranks.device)
        self.progress = Progress()
        self.saved_at = 0  # the step of the checkpoint on the disk
        saved = self._saved()
        if saved is None and start is not None and ranks.first:
            start(self.network)
        ranks.copy_first(self.network)
        self.average = deepcopy(self.network).eval()
        self.optimiser = build_optimiser(config, self.network)
        if saved is not None:
            self._take_up(saved)
        if ranks.first:
            cut_log(out, task.scores, self.progress.step, self.progress.validated)
            with writing(out / "config.json"):
                write_config(config, out / "config.json")
            if saved is None and task.split is not None:
                keep_split(out, task.split)
            self.learned_from = learned_by(out, task.learned)
            if find_spec("matplotlib") is None:
                self.say(f"matplotlib is not installed, so {CURVES} is not drawn (pip install matplotlib)")
        self.began, self.began_at = time.time(), self.progress.step

    def is_due(self, every: int) -> bool:
        """Whether this step is one of every so many, or the last one."""
        return self.progress.step > 0 and (self.progress.step % every == 0 or self.progress.step == self.config.steps)

    @property
    def is_over(self) -> bool:
        return self.progress.step >= self.config.steps or self.is_stale

    @property
    def is_stale(self) -> bool:
        """Whether `patience` is used up."""
        return 0 < self.config.patience <= self.progress.stale

    def report(self) -> None:
        """A line, and a row in the log, on the steps since the last one."""
        step, loss = self.progress.step, float(np.mean(self.progress.recent))
        pace = (time.time() - self.began) / (step - self.began_at)
        self.say(f"step {step}/{self.config.steps}  loss {loss:.4f}  {pace:.2f} s/step  {_clock(pace * (self.config.steps - step))} left")
        self._log({"step": step, "loss": round(loss, 5), "rate": f"{learning_rate(self.config, step - 1):.2e}"})
        self.progress.recent.clear()

    def save(self) -> None:
        if self.ranks.first:
            save_checkpoint(self.out, self.config, self.ranks.size, self.progress, self.network, self.average, self.optimiser,
                            again=self.saved_at == self.progress.step, learned_from=self.learned_from)
            self.saved_at = self.progress.step
            self.log.write()

    def validate(self, stop: Stop) -> None:
        """Score the averaged weights; keep them apart when they are the best so far. The checkpoint before is of this step."""
        stop.at_once = True  # whole cases may take minutes, and nothing is lost
        found = self.ranks.share(self.task.watch(self.average, self.ranks.device) if self.ranks.first else None)
        stop.at_once = False
        best = self.progress.note(float(np.mean(list(found.values()))))
        self.say(f"validation {self.task.measure}  " + "  ".join(f"{name} {value:.3f}" for name, value in found.items()))
        if self.ranks.first:
            if best:
                save_best(self.out, self.config, self.progress.step, found, self.average, learned_from=self.learned_from)
            self._log({"step": self.progress.step, **{f"dice_{name}": round(value, 4) for name, value in found.items()}})
            self.save()
            self.draw()
        if self.is_stale:
            self.say(f"ended at step {self.progress.step}: {self.progress.stale} validations without a better mean {self.task.measure} than "
                     f"{self.progress.best:.4f}, whose weights are in {BEST}")

    def draw(self) -> None:
        """Draw the curves anew. A picture that is held open, or a log that has no row yet, must not end a night's run: that is said, once."""
        if self.ranks.first and find_spec("matplotlib") is not None:
            try:
                draw_curves([self.out], self.out / CURVES)
            except (BrainTumorSegError, OSError) as error:
                if not self.undrawn:
                    self.say(f"{CURVES} is not drawn: {error}")
                self.undrawn = True

    def _log(self, row: dict) -> None:
        if self.ranks.first:
            self.log.add(row)

    def _saved(self) -> dict | None:
        """The last whole checkpoint, found (and a damaged one replaced) by the first process and then read by the others."""
        if not self.ranks.any(has_checkpoint(self.out)):
            return None
        saved = find_checkpoint(self.out, self.say) if self.ranks.first else None
        self.ranks.any(False)  # the others wait here
        return saved or find_checkpoint(self.out, self.say)

    def _take_up(self, saved: dict) -> None:
        refuse_another(self.out, saved, self.config, self.ranks.size)
        if self.task.split is not None:
            refuse_another_split(self.out, self.task.split)
        load_weights(self.network, saved["network"], f"the checkpoint of {self.out.name}")
        load_weights(self.average, saved["average"], f"the checkpoint of {self.out.name}")
        self.optimiser.load_state_dict(saved["optimiser"])
        self.progress = Progress(**saved["progress"]) if "progress" in saved else Progress(step=saved["step"], validated=saved["step"])
        self.saved_at = self.progress.step


def _silent(line: str) -> None:
    pass


def _clock(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
