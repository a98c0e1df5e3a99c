"""What a network will see in training, as a sheet: a picture says faster than numbers that an augmentation is too strong, or a label off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import wrap

import numpy as np

from braintumorseg.errors import InputError, MissingFile, OutputError
from braintumorseg.io.replacing import replacing
from braintumorseg.overlay_page import OUTLINES, LegendEntry, Panel, draw_page
from braintumorseg.study import ROLES, TITLES

from .config import BrainConfig, Config
from .data import UNLABELLED, Patches, Split, load_cases, load_made_up
from .export import LABELS
from .export_brain import BRAIN_LABELS
from .head_maps import read_heads
from .synthetic_heads import SyntheticHeads

__all__ = ["draw_heads", "draw_patches"]

WINDOW = (-2.5, 3.5)   # z-scores from black to white; the same for all, or changes of brightness would not show
_MOST_HEADS = 4        # label maps take 5 s each to read
_TITLE_LETTERS = 28
_NO_MARKS = ("", "", "", "")


def draw_patches(config: Config, packed: Path, split: Split | None, path: Path, *, count: int, seed: int | None = None) -> None:
    """A row a patch: the four sequences, and the labels outlined on one of them, in the slice that holds most of the tumour (else the middle).

    What was done to a sequence stands in its picture, what was done to all in the last.

    Args:
        packed: folder that `prepare` wrote; `split`'s training cases are drawn from, with the phantoms, as in `fit`; all without a split.
        seed: over the configuration's, to see others. The first patches of a run are those of its own seed.
    """
    cases = load_cases(packed) if split is None else load_cases(packed, split.train) + load_made_up(packed, split)
    cases = [case for case in cases if case.cohort != UNLABELLED]
    if not cases:
        raise InputError(f"{packed.name} holds no labelled case.", "Run braintumorseg-train prepare first.")
    patches = Patches(cases, config if seed is None else replace(config, seed=seed), 0, count)
    rows = [_patch_row(patches, number, config) for number in range(count)]
    legend = [LegendEntry(label.name, OUTLINES[label.value]) for label in LABELS] + [LegendEntry(f"grey: z-scores {WINDOW[0]:g} to {WINDOW[1]:g}")]
    _save(draw_page(rows, f"Patches of {' x '.join(map(str, config.patch))} voxels as the network sees them", legend, OUTLINES), path)


def draw_heads(config: BrainConfig, maps: Path, split: Split | None, path: Path, *, count: int, seed: int | None = None) -> None:
    """A row an image made from a label map: axial slice, then the brain outlined in the three planes. Four maps at most are read.

    Args:
        maps: folder of label maps; `split`'s training names are taken from, without a split the first ones.
        seed: as in `draw_patches`.
    """
    names = list(split.train) if split is not None else sorted(file.name.removesuffix(".nii.gz") for file in maps.glob("*.nii.gz"))
    if not names:
        raise MissingFile(f"There are no label maps (.nii.gz) in {maps.name}.", "Give the folder of SynthSeg's label maps of heads.")
    images = SyntheticHeads(read_heads(maps, names[:_MOST_HEADS]), config if seed is None else replace(config, seed=seed), 0, count)
    rows = [_head_row(images, number, config) for number in range(count)]
    _save(draw_page(rows, "Made-up heads as the brain network sees them", [LegendEntry(label.name, label.rgb) for label in BRAIN_LABELS],
                    {label.value: label.rgb for label in BRAIN_LABELS}), path)


def _patch_row(patches: Patches, number: int, config: Config) -> list[Panel]:
    notes: dict[str, list[str]] = {}
    image, labels = patches.look(number, lambda what, role="": notes.setdefault(role, []).append(what))    # (C, I, J, K), (I, J, K)
    image, labels = image.numpy(), labels.numpy()
    area = (labels > 0).sum((0, 1))
    at = int(area.argmax()) if area.any() else labels.shape[2] // 2
    shown = [role for role, sequence in zip(ROLES, image, strict=True) if sequence.any()]
    best = next((role for role in ("t1ce", "flair", "t2", "t1") if role in shown), "t1ce")
    greys = {role: _grey(sequence[:, :, at], *WINDOW) for role, sequence in zip(ROLES, image, strict=True)}

    def panel(title: str, role: str, outlined: bool) -> Panel:
        return Panel(title, _on_screen(greys[role]), _on_screen(labels[:, :, at]) if outlined else None, config.spacing_mm[:2], _NO_MARKS)

    def what_was_done(role: str) -> list[str]:
        return [line for what in notes.get(role, []) for line in wrap(what, _TITLE_LETTERS, break_on_hyphens=False)]

    plain = [panel("\n".join([TITLES[role], *what_was_done(role)]), role, False) for role in ROLES]
    return [*plain, panel("\n".join(what_was_done("")), best, True)]


def _head_row(images: SyntheticHeads, number: int, config: BrainConfig) -> list[Panel]:
    image, brain = (tensor[0].numpy() for tensor in images[number])                                         # (I, J, K) each
    low, high = np.percentile(image, (0.5, 99.7))
    grey, mask = _grey(image, low, max(high, low + 1e-6)), (brain > 0.5).astype(np.uint8)
    where = [int(np.argmax(mask.sum(tuple(a for a in range(3) if a != axis)))) if mask.any() else mask.shape[axis] // 2 for axis in range(3)]

    def panel(title: str, axis: int, outlined: bool) -> Panel:
        across, down = (mm for other, mm in enumerate(config.spacing_mm) if other != axis)
        return Panel(title, _on_screen(grey.take(where[axis], axis)), _on_screen(mask.take(where[axis], axis)) if outlined else None,
                     (across, down), _NO_MARKS)

    title = f"image {number}" if mask.any() else f"image {number}, no brain in it"
    return [panel(title, 2, False), *(panel("", axis, True) for axis in (2, 1, 0))]


def _grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8; what is exactly 0 is outside the brain, or not there, and black."""
    return np.where(values == 0, 0, np.clip((values - low) / (high - low) * 255, 0, 255)).astype(np.uint8)


def _on_screen(piece: np.ndarray) -> np.ndarray:
    """(rows, columns) of a slice whose axes grow right and anterior (or superior): the patient's right at the left, as radiologists look."""
    return np.ascontiguousarray(piece[::-1, ::-1].T)


def _save(page, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            page.save(partial, "PNG")
    except OSError as error:
        raise OutputError(f"{path.name} cannot be written ({error.strerror or error}).", "Make room there, or choose another --out.") from None
