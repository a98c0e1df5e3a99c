"""Four sequences of brains made from label maps, with tumours, with white-matter disease that is none, or with neither: more anatomy to train on.

After SynthSeg (Billot 2023, Med Image Anal 86:102789): tissues are painted with each sequence's own contrast, widely varied.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

import braintumorseg
from braintumorseg.errors import MissingFile
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.masks import bounding_box
from braintumorseg.model_card import ModelCard
from braintumorseg.study import Study
from braintumorseg.volume import Volume

from .head_contrast import SEQUENCES, usual_brightness
from .head_lesions import with_lesion
from .head_maps import TISSUES, Head, read_head
from .packing import SYNTHETIC, fingerprint, pack_case, read_facts

__all__ = ["make_brain", "pack_synthetic_brains"]

_PLACE = {tissue: place for place, tissue in enumerate(TISSUES)}
_LABELS = {"oedema": ED, "tumour": NCR, "rim": ET, "necrosis": NCR}
TUMOUR_SHARE, DISEASE_SHARE = 0.6, 0.4
_NEAR_VENTRICLES_MM = 18.0


def pack_synthetic_brains(maps: Path, each: int, out: Path, card: ModelCard, say: Callable[[str], None], *, force: bool = False) -> None:
    """Make `each` brains of every label map NAME.nii.gz of a folder and pack them as training cases named synthetic_NAME_NUMBER.

    Those that this version packed there before are left as they are, unless `force`. Raises MissingFile for a folder without label maps.
    """
    names = sorted(path.name.removesuffix(".nii.gz") for path in maps.glob("*.nii.gz"))
    if not names:
        raise MissingFile(f"There are no label maps (.nii.gz) in {maps.name}.", "Give the folder of SynthSeg's label maps of heads.")
    for place, name in enumerate(names, 1):
        wanted = {f"{SYNTHETIC}_{name}_{number}": fingerprint((), f"brain {number} of {name}, {braintumorseg.__version__}", card)
                  for number in range(each)}
        wanted = {case: source for case, source in wanted.items()
                  if force or not (out / f"{case}.npz").is_file() or read_facts(out, case).source != source}
        head = read_head(maps / f"{name}.nii.gz") if wanted else None
        for case, source in wanted.items():
            study, truth = make_brain(head, np.random.default_rng([*case.encode()]))
            pack_case(case, SYNTHETIC, study, truth, card, out, source=source)
        say(f"{place}/{len(names)} {name}: {len(wanted)} of {each} brains packed" + (", the others were there" if len(wanted) < each else ""))


def make_brain(head: Head, rng: np.random.Generator) -> tuple[Study, Volume]:
    """The four sequences of one brain, 1 mm and exactly 0 outside, and the labels of its tumour (1 NCR, 2 ED, 3 ET; none in two of five)."""
    tissues = with_lesion(head, rng, surgery=False) if rng.random() < TUMOUR_SHARE else head.tissues.copy()
    box = bounding_box(head.brain, 4)
    tissues, brain = tissues[box], head.brain[box]
    table = np.zeros(len(TISSUES), np.uint8)
    for tissue, label in _LABELS.items():
        table[_PLACE[tissue]] = label
    labels = table[tissues] * brain
    if rng.random() < DISEASE_SHARE:
        tissues = _with_white_matter_disease(tissues, rng)
    sharp = rng.uniform(0.4, 0.9)
    affine = np.eye(4)
    brightness = {role: usual_brightness(place, rng) for place, role in enumerate(SEQUENCES)}
    _enhance(brightness, rng)
    volumes = {}
    for role, mean in brightness.items():
        spread = rng.uniform(0.01, 0.05)
        image = ndimage.gaussian_filter(mean.astype(np.float32)[tissues], sharp)
        image += ndimage.gaussian_filter(rng.standard_normal(tissues.shape, np.float32), sharp) * spread
        volumes[role] = Volume(np.clip(image, 0.001, None).astype(np.float32) * brain, affine)
    return Study(volumes), Volume(labels, affine)


def _enhance(brightness: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """What is labelled as enhancing does, by a third or more; the rest of the tumour does not."""
    before, after = brightness["t1"], brightness["t1ce"]
    gain = after[_PLACE["white"]] / before[_PLACE["white"]]
    for tissue in ("tumour", "oedema", "necrosis"):
        after[_PLACE[tissue]] = before[_PLACE[tissue]] * gain
    after[_PLACE["rim"]] = max(after[_PLACE["rim"]], before[_PLACE["rim"]] * gain * rng.uniform(1.35, 2.0))


def _with_white_matter_disease(tissues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up to 30 spots of 1.5 to 5 mm in the white matter around the ventricles, as bright as oedema, as ageing and multiple sclerosis make them."""
    tissues = tissues.copy()
    away = ndimage.distance_transform_edt(tissues != _PLACE["ventricle"])
    white = tissues == _PLACE["white"]
    places = np.argwhere(white & (away < _NEAR_VENTRICLES_MM))
    for _ in range(int(rng.integers(3, 30)) if len(places) else 0):
        middle, radii = places[rng.integers(len(places))], rng.uniform(1.5, 5, 3)
        low = np.maximum(middle - 6, 0)
        box = tuple(slice(a, m + 7) for a, m in zip(low, middle, strict=True))
        axes = np.meshgrid(*((np.arange(side.start, side.start + n) - m) / r
                             for side, n, m, r in zip(box, tissues[box].shape, middle, radii, strict=True)), indexing="ij", sparse=True)
        tissues[box][(sum(axis**2 for axis in axes) < 1) & white[box]] = _PLACE["oedema"]
    return tissues
