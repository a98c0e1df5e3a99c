"""The way from a study to a segmentation, and from there to a folder of results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from . import __version__
from .brain import find_in_head, open_brain_finder
from .errors import GridMismatch, ModelError, ResourceError
from .hardware import RUNTIMES
from .io.itk import require_right_angles
from .memory import free_bytes
from .model_card import ModelCard
from .model_zoo import Model
from .postprocess import onto_native
from .preprocess import prepare
from .progress import Progress
from .register import Alignment, align
from .resample import canonical_grid
from .runtime import Session, open_session
from .segmentation import Provenance, Segmentation
from .signs import signs
from .skull_strip import find_study_brain, shows_heads
from .study import Study
from .thorough import TOLD, expected_dice, look_again
from .tiling import predict
from .volume import Grid, Volume

__all__ = ["segment"]

# A voxel of the largest image, as it is stored or as the network reads it, measured at the peak: one image and two copies as float32 while it is
# resampled, and the three region masks with the labels; where the brain is looked for, in several heads at once.
_BYTES, _BYTES_OF_HEADS = 3 * 4 + 4, 24
_REPORTED = ("numpy", "scipy", "SimpleITK", "nibabel", *RUNTIMES)


def segment(study: Study, model: Model, *, device: str = "auto", threads: int = 0, provider: str | None = None, registered: bool = False,
            stripped: bool = False, thorough: bool = False, find: Callable[[Volume], Volume] | None = None, progress: Progress | None = None,
            turn: AbstractContextManager | None = None) -> Segmentation:
    """Segment the tumour of a study, of whole heads or of brains that were cut out.

    Args:
        study: any subset of the sequences that the model's card allows to be missing, each on its own grid.
        model: from `load_model`.
        device: 'auto', 'cpu' or 'cuda'.
        threads: for the network on a CPU; 0 takes all cores, and no number takes more.
        provider: one of `providers.PROVIDERS` by its name, and no other; None leaves the choice to `device`.
        registered: the sequences are aligned already: they must share one grid, in whatever order each is stored, and nothing is moved.
        stripped: take the images for brain-only even if they do not look it.
        thorough: look several times, each sequence withheld once, take the mean, and say how sure it is (see `thorough`).
        find: a volume -> its brain on its own grid (not 0 within); None takes the embedded network. Asked only where images show heads, or
            may do so.
        progress: is told how far the run is, and can cancel it.
        turn: entered while the network runs; of several studies in several threads a lock lets one at a time in.

    Raises GridMismatch, BadImage, ModelError, ResourceError or Cancelled.
    """
    progress = progress or Progress()
    card = model.card
    _require_readable(study, card)
    whole = not stripped and card.brain_only  # heads may be shown, and the network would not know what to make of them
    found_in = _once_each(find or _finder(device, threads, provider), progress)
    with progress.timed("brain") if whole else nullcontext():
        _require_memory(study, card, _BYTES_OF_HEADS if whole and shows_heads(study) else _BYTES)
        heads = shows_heads(study, found_in) if whole else ()
    progress.expect(**_expected(study, heads, registered, thorough))
    with _opening(model, device, threads, provider) as opened:
        with progress.step("align") as tell:
            alignments = _align(study, registered, tell)
        moved = {role: alignment.moved for role, alignment in alignments.items() if alignment.moved is not None}
        doubtful = tuple(role for role, alignment in alignments.items() if alignment.doubtful)
        brain = None
        if heads:
            with progress.step("brain") as tell:
                brain = find_study_brain(study, heads, found_in, moved, doubtful, tell)
        with progress.step("prepare"):
            ready = prepare(study, card, moved, brain and brain.mask)
        with turn or nullcontext(), progress.step("predict") as tell:
            session = opened()
            if thorough:
                probabilities, passes, looks = look_again(ready.channels, session, card, progress=tell, cancel=progress.cancel)
            else:
                probabilities, passes = predict(ready.channels, session, card.size_multiple, card.bytes_per_voxel, regions=len(card.regions),
                                                progress=tell, cancel=progress.cancel)
                looks = 1
            # Read here: once `turn` is free, another study's failure may move the session on to its next provider.
            ran = {"provider": session.provider, "provider_note": session.note, "precision": session.precision, "weights": session.weights.name}
    with progress.step("decide"):
        labels = study.reference.with_voxels(onto_native(probabilities, ready.grid, study.reference.grid, card))
        found = bool(labels.voxels.any())   # without a tumour nobody asks how sure the network was of it
        seen = signs(ready, probabilities, labels, card)
        sure = {region: dice for region, dice in expected_dice(probabilities, card).items() if region in TOLD} if looks > 1 and found else {}
    provenance = Provenance(
        model=card.name, version=card.version, sha256=card.sha256, **ran, passes=passes, looks=looks, expected_dice=sure, signs=seen,
        reference=study.reference_role, roles=dict(study.sources), missing=tuple(role for role in card.roles if role not in study.volumes),
        alignment={role: alignment.text for role, alignment in alignments.items()}, doubtful=doubtful,
        brain=brain.text if brain else "", seconds=progress.seconds, software=_software())
    return Segmentation(labels, card.labels, provenance, moved, brain)


@contextmanager
def _opening(model: Model, device: str, threads: int, provider: str | None) -> Iterator[Callable[[], Session]]:
    """Open the network while the study is made ready for it: loading a runtime, or a GPU's context, takes from half a second to several.

    What is yielded waits for the session and returns it, or raises why there is none.
    """
    with ThreadPoolExecutor(1) as aside:
        yield aside.submit(open_session, model.weights, device, threads, provider=provider, variants=model.card.variants).result


def _expected(study: Study, heads: Collection[str], registered: bool, thorough: bool) -> dict[str, float]:
    """Step -> seconds on two cores: what the study's size and kind make of the usual times. For the forecast alone."""
    others = [volume for role, volume in study.volumes.items() if role != study.reference_role and not registered]
    searched = sum(volume.grid.place_in(study.reference.grid) is None for volume in others)
    millions = np.prod(study.reference.shape, dtype=float) / 1e6
    return {"align": 3.3 * searched + 0.4 * (len(others) - searched), "brain": 1.2 * len(heads),
            "predict": 1.6 * (1 + len(study.volumes) * thorough), "decide": 0.03 * millions,
            "draw": 0.5 + 0.4 * len(heads)}


def _require_readable(study: Study, card: ModelCard) -> None:
    for role, volume in study.volumes.items():
        require_right_angles(volume.grid, role)
    if card.finds != "tumour":
        raise ModelError(f"{card.name} finds the {card.finds}, not tumours.", "Choose another --model ('braintumorseg models list' names them).")
    lacking = [role for role in card.roles if role not in study.volumes and role not in card.may_be_missing]
    if lacking:
        raise ModelError(f"{card.name} was not trained to do without {' and '.join(lacking)}.", "Give them, or choose another --model.")
    if not set(card.roles) & set(study.volumes):
        raise ModelError(f"{card.name} reads {', '.join(card.roles)}, and none of them was given.", "Give one, or choose another --model.")


def _require_memory(study: Study, card: ModelCard, bytes_per_voxel: float) -> None:
    """Refuse before allocating: a study that cannot fit would be killed by the system half way."""
    grids = [*(volume.grid for volume in study.volumes.values()), canonical_grid(study.reference.grid, card.spacing_mm)]
    largest = max(np.prod(grid.shape, dtype=float) for grid in grids)
    need = largest * bytes_per_voxel + 0.8e9
    free = free_bytes()
    if need > free:
        raise ResourceError(f"This study needs about {need / 1e9:.1f} GB more memory and {free / 1e9:.1f} GB are free.",
                            "Close other programs, or crop the images to the head.")


def _align(study: Study, registered: bool, tell) -> Mapping[str, Alignment]:
    if not registered:
        return align(study, progress=tell)
    for role, volume in study.volumes.items():
        if volume.grid.place_in(study.reference.grid) != tuple(slice(0, n) for n in study.reference.shape):
            raise GridMismatch(f"{_mismatch(role, volume.grid, study.reference_role, study.reference.grid)}; with --registered all must share one "
                               "grid.", "Leave out --registered and they are aligned for you.")
    return {role: Alignment(None, "as given (--registered)", False) for role in study.roles if role != study.reference_role}


def _mismatch(role: str, grid: Grid, reference_role: str, reference: Grid) -> str:
    """How two grids differ: in size, spacing or orientation, or only in their place."""
    if grid.describe() == reference.describe():
        return f"{role} and {reference_role} are {grid.describe()} both, and lie up to {grid.apart_mm(reference):.2f} mm apart"
    found = f"{role} is {grid.describe()} and {reference_role} is {reference.describe()}"
    own, theirs = grid.canonical(), reference.canonical()
    return f"{found}, and they lie up to {own.apart_mm(theirs):.2f} mm apart" if own.describe() == theirs.describe() else found


def _finder(device: str, threads: int, provider: str | None) -> Callable[[Volume], Volume]:
    """Finds the brain with the embedded network, which is opened when it is first asked, by whichever thread that is."""
    opened, turn = cache(lambda: open_brain_finder(device, threads, provider)), threading.Lock()

    def find(volume: Volume) -> Volume:
        with turn:
            finder = opened()
        return find_in_head(volume, finder)

    return find


def _once_each(find: Callable[[Volume], Volume], progress: Progress) -> Callable[[Volume], Volume]:
    """`find`, which looks at each volume once, and not any more when the run is cancelled."""
    @cache
    def found_in(volume: Volume) -> Volume:
        progress.check()
        return find(volume)

    return found_in


def _software() -> dict[str, str]:
    found = {"braintumorseg": __version__}
    for package in _REPORTED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
