"""What another scanner may do to images, done to the validation cases: Dice of one network as they are, and changed in one way at a time.

    python robustness.py PACKED [--model glioma] [--split SPLIT.json] --out DIR

Each change is made to every sequence (uneven coils and what is left of a skull differ from one to the next), and what is changed is normalised
anew, as the engine would find it. The strengths are those of poor clinical images, not of the worst; the random ones are the same at every run.
Cases: the split's validation, packed by `braintumorseg-train prepare`, so on the network's own grid. For looking at a network, not for choosing one:
the cases would no longer be held out.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cross_cohort import REGIONS, dice_of, mean_dice
from measured import machine
from scipy import ndimage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path, help="folder that `braintumorseg-train prepare` wrote")
    parser.add_argument("--model", default="glioma", help="name of a network, or an .onnx file (glioma)")
    parser.add_argument("--split", type=Path, help="JSON with validation (default: the 24 cases' own)")
    parser.add_argument("--only", nargs="+", choices=tuple(CHANGES), metavar="CHANGE", help=f"of: {'; '.join(CHANGES)}")
    parser.add_argument("--out", type=Path, required=True, help="folder for robustness.json, .md and .png")
    args = parser.parse_args()
    from braintumorseg.model_zoo import load_model
    from braintumorseg.runtime import open_session
    from braintumorseg.tiling import predict
    from braintumorseg_training.cli import OWN_SPLIT
    from braintumorseg_training.data import load_cases, read_split

    model = load_model(args.model)
    session, card = open_session(model.weights, "cpu", variants=model.card.variants), model.card
    rows: dict[str, dict] = {change: {} for change in (AS_IT_IS, *(args.only or CHANGES))}
    for case in load_cases(args.packed, read_split(args.split or OWN_SPLIT).validation):
        original = Images(np.array(case.channels, np.float32), np.array(case.labels), case.name)
        for change, row in rows.items():
            images = original if change == AS_IT_IS else CHANGES[change](original, card)
            images = images.padded(card.size_multiple)
            found, _ = predict(images.channels, session, card.size_multiple, card.bytes_per_voxel)
            row[case.name] = dice_of(found, images, card)
        print(case.name, "  ".join(f"{change} {row[case.name]['WT']:.2f}" for change, row in rows.items()), flush=True)
    result = {"network": {"name": card.name, "version": card.version, "sha256": card.sha256}, "machine": machine(), "provider": session.provider,
              "precision": session.precision, "rows": rows}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "robustness.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (args.out / "robustness.md").write_text(as_markdown(result), encoding="utf-8")
    draw(result, args.out / "robustness.png")


class Images:
    """channels (4, I, J, K) float32 z-scores, 0 outside the brain; labels (I, J, K) uint8; as `dice_of` takes a case."""

    def __init__(self, channels: np.ndarray, labels: np.ndarray, name: str):
        self.channels, self.labels, self.name = channels, labels, name

    def chance(self, number: int) -> np.random.Generator:
        return np.random.default_rng((zlib.crc32(self.name.encode()), number))

    def turned_by(self, change: Callable[[np.ndarray, int], np.ndarray]) -> Images:
        """Each volume, the labels last, under change(volume, order of interpolation)."""
        channels = np.stack([change(sequence, 1) for sequence in self.channels])
        return Images(channels.astype(np.float32), change(self.labels, 0), self.name)

    def padded(self, multiple: int) -> Images:
        more = [(0, -side % multiple) for side in self.labels.shape]
        return Images(np.pad(self.channels, [(0, 0), *more]), np.pad(self.labels, more), self.name)


def intensities(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable:
    """A change of each sequence's intensities, 0 to 1 within the brain, which are normalised again afterwards."""
    from braintumorseg.normalise import normalise

    def changed(images: Images, card) -> Images:
        channels = np.zeros_like(images.channels)
        for number, sequence in enumerate(images.channels):
            brain = sequence != 0
            low, high = sequence[brain].min(), sequence[brain].max()
            within = np.where(brain, (sequence - low) / (high - low), 0).astype(np.float32)
            channels[number] = normalise(change(within, images.chance(number)), brain, card.normalisation)
        return Images(channels, images.labels, images.name)

    return changed


def uneven(most: float) -> Callable:
    """A coil's sensitivity, as `field` draws it."""
    return intensities(lambda volume, chance: volume * field(volume.shape, most, chance))


def field(shape: tuple[int, ...], most: float, chance: np.random.Generator) -> np.ndarray:
    """Smooth, 3 knots a side, between 1 - most and 1 + most and touching one of them."""
    knots = ndimage.zoom(chance.normal(size=(3, 3, 3)), [side / 3 for side in shape], order=2)
    knots -= knots.mean()
    return 1 + most * knots / np.abs(knots).max()


def thick(voxels: int) -> Callable:
    """Axial slices of so many mm, each the mean of what it covers."""
    def change(volume: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        middles = ndimage.uniform_filter1d(volume, voxels, axis=2)[:, :, voxels // 2::voxels]
        return np.repeat(middles, voxels, axis=2)[:, :, np.minimum(np.arange(volume.shape[2]), middles.shape[2] * voxels - 1)]

    return intensities(change)


def left_over(volume: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Bright patches 2 mm thick on three tenths of the brain's surface, as a poor extraction leaves of fat and skull."""
    brain = volume > 0
    rim = brain & ~ndimage.binary_erosion(brain, iterations=2)
    patches = ndimage.gaussian_filter(chance.normal(size=volume.shape), 6)
    return np.where(rim & (patches > np.quantile(patches[rim], 0.7)), 1, volume)


def flair_off(images: Images, card) -> Images:
    channels = images.channels.copy()
    channels[card.roles.index("flair")] = np.roll(channels[card.roles.index("flair")], 2, axis=1)
    return Images(channels, images.labels, images.name)


def turned(axes: tuple[int, int]) -> Callable:
    return lambda images, card: images.turned_by(lambda volume, order: ndimage.rotate(volume, 15, axes=axes, reshape=False, order=order))


AS_IT_IS = "as they are"
CHANGES: dict[str, Callable[[Images, object], Images]] = {
    "gamma 0.7": intensities(lambda volume, chance: volume**0.7),
    "gamma 1.4": intensities(lambda volume, chance: volume**1.4),
    "coils uneven by 20 %": uneven(0.2),
    "coils uneven by 40 %": uneven(0.4),
    "blurred (Gaussian of 1 mm)": intensities(lambda volume, chance: ndimage.gaussian_filter(volume, 1.0)),
    "axial slices of 5 mm": thick(5),
    "noise of 5 % of the range": intensities(lambda volume, chance: volume + chance.normal(0, 0.05, volume.shape)),
    "brightest 2 % saturated": intensities(lambda volume, chance: np.minimum(volume, np.percentile(volume[volume > 0], 98))),
    "brightest 0.7 % three times as bright": intensities(lambda volume, chance: volume * np.where(
        volume > np.percentile(volume[volume > 0], 99.3), 3, 1)),
    "skull left on the brain": intensities(left_over),
    "FLAIR 2 mm out of place": flair_off,
    "head nodding by 15 degrees": turned((1, 2)),
    "head tilted by 15 degrees": turned((0, 2)),
    "head of 0.8 times the size": lambda images, card: images.turned_by(lambda volume, order: ndimage.zoom(volume, 0.8, order=order)),
    "16 mm more background on each side": lambda images, card: Images(np.pad(images.channels, [(0, 0), *[(16, 16)] * 3]),
                                                                      np.pad(images.labels, 16), images.name),
}


def as_markdown(result: dict) -> str:
    network, rows = result["network"], result["rows"]
    names = list(rows[AS_IT_IS])
    lines = ["# Changed images", "",
             f"{network['name']} {network['version']}, {len(names)} validation cases ({', '.join(names)}), one pass; mean Dice (change in points), "
             f"both empty 1, one empty 0; ET over cases with 1 ml or more. {result['provider']}, {result['precision']}. What each change is: "
             "`Testing/benchmarks/robustness.py`.", "",
             "| images | " + " | ".join(REGIONS) + " | worst WT |", "|---" * (2 + len(REGIONS)) + "|"]
    for change, row in rows.items():
        worst = min(row, key=lambda name: row[name]["WT"])
        cells = [_shown(row, rows[AS_IT_IS], region, change) for region in REGIONS]
        lines.append(f"| {change} | " + " | ".join(cells) + f" | {row[worst]['WT']:.2f} ({worst}) |")
    return "\n".join([*lines, "", "![Each case under each change](robustness.png)", ""])


def _shown(row: dict, plain: dict, region: str, change: str) -> str:
    mean = mean_dice(row, region)
    return f"{mean:.3f}" if change == AS_IT_IS else f"{mean:.3f} ({100 * (mean - mean_dice(plain, region)):+.1f})"


def draw(result: dict, path: Path) -> None:
    """For each change a line: every case as a dot, the mean as a bar; the dashed line is the mean of the images as they are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = result["rows"]
    figure = Figure(figsize=(11, 1.4 + 0.32 * len(rows)), dpi=130, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, region in zip(figure.subplots(1, 3, sharey=True), REGIONS, strict=True):
        axes.axvline(mean_dice(rows[AS_IT_IS], region), color="0.6", linestyle="--", linewidth=1, zorder=1)
        for place, row in enumerate(rows.values()):
            dots = [one[region] for one in row.values() if region != "ET" or one["et_ml"] >= 1]
            axes.barh(place, mean_dice(row, region), height=0.7, color="#c8d6e5", zorder=0)
            axes.scatter(dots, [place] * len(dots), s=14, color="#1f4e79", zorder=2)
        axes.set(title=region, xlabel="Dice", xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), list(rows))
        axes.spines[["top", "right"]].set_visible(False)
    canvas.print_png(str(path))


if __name__ == "__main__":
    main()
