"""Other ways to run an exported network, each held against the float32 one before its card may name it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from braintumorseg.errors import InputError, ModelError
from braintumorseg.hardware import Machine, this_machine
from braintumorseg.labels import REGIONS, region_mask
from braintumorseg.metrics import dice
from braintumorseg.model_card import ModelCard, Variant, write_card
from braintumorseg.model_zoo import Model, load_model, sha256_of
from braintumorseg.postprocess import onto_native
from braintumorseg.preprocess import prepare
from braintumorseg.runtime import open_session
from braintumorseg.tiling import predict

from .case_folder import CaseFolder
from .config import BrainConfig
from .data import Split, load_cases
from .fit_brain import HELD_OUT_SEED
from .head_maps import read_heads
from .outputs import output_into
from .reduced_precision import as_bfloat16, kept_in_float, layers_by_work, quantise
from .seen import seen_cases
from .synthetic_heads import SyntheticHeads
from .without_amx import WithoutAmx

__all__ = ["KINDS", "MOST_POINTS", "Trial", "brain_trial", "change", "make_variants", "tumour_trial"]

KINDS = ("bfloat16", "int8")   # in this order in the card: the engine takes the first that fits
MOST_POINTS = 0.3                          # by which the mean Dice of no region may fall
LARGEST_MB = 12.0                          # a file that is committed
_SHARES = (0.0, 0.1, 0.25, 0.5)            # of the work that INT8 leaves in float32, until the rest passes
_CALIBRATED_ON = 10
_BRAIN_IMAGES = 24
_BF16 = "amx_bf16"
_AMX = frozenset({_BF16, "amx_int8"})


@dataclass(frozen=True)
class Trial:
    """What variants are made and judged with.

    samples: makes the inputs (C, I, J, K) float32 of training cases that INT8's ranges come from.
    inputs: held-out case -> its input. score: (case, probabilities (R, I, J, K)) -> region -> Dice.
    trained_on: those of the held-out cases that the network learned from, or whose patients it did.
    """

    samples: Callable[[], list[np.ndarray]]
    inputs: Mapping[str, np.ndarray]
    score: Callable[[str, np.ndarray], Mapping[str, float]]
    trained_on: tuple[str, ...] = ()


def tumour_trial(card: ModelCard, packed: Path, folder: CaseFolder, split: Split) -> Trial:
    """Calibrated on the split's training cases, as `prepare` packed them; judged on its validation cases, from their files to labels.

    Raises MissingFile or InputError before anything is computed.
    """
    if not split.validation:
        raise InputError("The split has no validation cases to judge variants on.", "Give another --split.")
    cases = folder.find(split.validation)
    training = load_cases(packed, _spread(split.train, _CALIBRATED_ON))
    inputs, truths, grids = {}, {}, {}
    for name, case in cases.items():
        study, truths[name] = case.read()
        ready = prepare(study, card)
        inputs[name], grids[name] = ready.channels, ready.grid

    def score(name: str, probabilities: np.ndarray) -> dict[str, float]:
        labels = onto_native(probabilities, grids[name], truths[name].grid, card)
        return {region: dice(region_mask(truths[name].voxels, region), region_mask(labels, region)) for region in REGIONS}

    return Trial(lambda: [_middle(case.channels, card.size_multiple) for case in training], inputs, score,
                 seen_cases(card, folder, cases, split.train))


def brain_trial(card: ModelCard, maps: Path, split: Split, images: int = _BRAIN_IMAGES, config: BrainConfig | None = None) -> Trial:
    """The same for a brain network: images made up from the training heads, and from the held-out ones as `validate_brain` makes them."""
    config = config or BrainConfig(empty_share=0.0)
    held_out = SyntheticHeads(read_heads(maps, split.validation), config, HELD_OUT_SEED, images)
    made = {f"image {number}": held_out[number] for number in range(images)}

    def score(name: str, probabilities: np.ndarray) -> dict[str, float]:
        return {"brain": dice(made[name][1][0].numpy() > 0.5, probabilities[0] > card.post_processing.thresholds["brain"])}

    def samples() -> list[np.ndarray]:
        heads = SyntheticHeads(read_heads(maps, _spread(split.train, 4)), config, 0, _CALIBRATED_ON)
        return [heads[number][0].numpy() for number in range(_CALIBRATED_ON)]

    return Trial(samples, {name: image.numpy() for name, (image, _) in made.items()}, score)


def make_variants(weights: Path, trial: Trial, kinds: Sequence[str], say: Callable[[str], None], machine: Machine | None = None) -> ModelCard:
    """Make the variants of these KINDS beside NAME.onnx, hold each against the float32 network, and write those that pass into NAME.json.

    Whatever variants the card had before are made anew or gone. Returns the card as written.
    """
    machine = machine or this_machine()
    model = load_model(weights)
    with output_into(weights.parent):
        exact = _scores(model, trial, (), machine)
        say(f"float32: {_points_text(_means(exact))} on {len(exact)} cases")
        if trial.trained_on:
            say(f"WARNING: {len(trial.trained_on)} of them were trained on, or others of their patients: the network is surer there than elsewhere.")
        found = []
        for kind in (kind for kind in KINDS if kind in kinds):
            passed = next(_passing(kind, model, trial, exact, machine, say), None)
            if passed is not None:
                found.append(passed)
        card = replace(model.card, variants=tuple(found))
        write_card(card, weights.with_suffix(".json"))
        if "int8" not in {variant.precision for variant in found}:   # what no card names any more
            _file(weights, "int8").unlink(missing_ok=True)
    say(f"{weights.with_suffix('.json').name} names {', '.join(variant.precision for variant in found) or 'no variant'}.")
    return card


def change(exact: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Region -> {'mean', 'worst'}: by how many points of Dice (0..100) the mean over the cases changes, and that of the worst case."""
    regions = next(iter(exact.values()))
    by_case = {region: [100 * (other[case][region] - exact[case][region]) for case in exact] for region in regions}
    return {region: {"mean": round(float(np.mean(points)), 3), "worst": round(min(points), 3)} for region, points in by_case.items()}


def _passing(kind: str, model: Model, trial: Trial, exact: Mapping, machine: Machine, say: Callable[[str], None]) -> Iterator[Variant]:
    """Those candidates of a kind that lose no more than MOST_POINTS, the fastest first."""
    for candidate, recipe in _candidates(kind, model, trial, machine, say):
        megabytes = model.weights.with_name(candidate.file).stat().st_size / 1e6
        found = _scores(model, trial, (candidate,), machine)
        points = change(exact, found)
        passed = all(row["mean"] >= -MOST_POINTS for row in points.values()) and megabytes <= LARGEST_MB
        say(f"{recipe}: " + ", ".join(f"{region} {row['mean']:+.2f} (worst case {row['worst']:+.2f})" for region, row in points.items())
            + f" points, {megabytes:.1f} MB: {'passes' if passed else 'not used'}")
        if passed:
            yield replace(candidate, parity={
                "recipe": recipe, "change_in_points": points, "float32": {region: round(mean, 4) for region, mean in _means(exact).items()},
                "allowed": MOST_POINTS, "cases": list(exact), **({"trained_on": list(trial.trained_on)} if trial.trained_on else {}),
                "processor": sorted(machine.features - (_AMX if _apart((candidate,), machine) else set())),
                **({"emulated": "in float32, rounded to bfloat16 between the nodes of the graph"} if _emulated((candidate,), machine) else {})})


def _candidates(kind: str, model: Model, trial: Trial, machine: Machine, say: Callable[[str], None]) -> Iterator[tuple[Variant, str]]:
    path = _file(model.weights, kind)
    if kind == "bfloat16":   # the same file; the kernels round on the way
        yield Variant(model.weights.name, model.card.sha256, kind, "openvino", (_BF16,)), "bfloat16"
        return
    needs = next(((feature,) for feature in ("vnni", "avx2") if feature in machine.features), None)
    if needs is None:
        say("int8: not tried, for this processor has neither vnni nor avx2")
    else:
        samples = trial.samples()
        layers = layers_by_work(model.weights, samples[0].shape)
        for share in _SHARES:
            kept = kept_in_float(layers, share)
            quantise(model.weights, samples, kept, path)
            yield Variant(path.name, sha256_of(path), kind, "openvino", needs), f"int8 but for {len(kept)} of {len(layers)} convolutions"


def _scores(model: Model, trial: Trial, variants: tuple[Variant, ...], machine: Machine) -> dict[str, Mapping[str, float]]:
    """Case -> region -> Dice of the network, as the engine runs it on a CPU that gets it: with this one variant, or in float32."""
    scores = {}
    with _runner(model, variants, machine) as run:
        for name, channels in trial.inputs.items():
            probabilities, precision = run(channels)
            if variants and precision != variants[0].precision:
                raise ModelError(f"The {variants[0].precision} variant did not run, but {precision}.",
                                 "'braintumorseg doctor' says what this machine can do.")
            scores[name] = trial.score(name, probabilities)
    return scores


@contextmanager
def _runner(model: Model, variants: tuple[Variant, ...], machine: Machine) -> Iterator[Callable[[np.ndarray], tuple[np.ndarray, str]]]:
    """channels -> (probabilities, precision)."""
    card = model.card
    if _apart(variants, machine):
        with WithoutAmx() as other:
            yield lambda channels: other.predict(channels, model.weights, card, variants)
        return
    if _emulated(variants, machine):
        with tempfile.TemporaryDirectory() as temporary:
            rounding = Path(temporary) / model.weights.name
            as_bfloat16(model.weights, rounding)
            emulator = open_session(rounding, "cpu", provider="onnxruntime")
            yield lambda channels: (predict(channels, emulator, card.size_multiple, card.bytes_per_voxel)[0], variants[0].precision)
        return
    session = open_session(model.weights, "cpu", provider="openvino" if variants else None, variants=variants)
    yield lambda channels: (predict(channels, session, card.size_multiple, card.bytes_per_voxel)[0], session.precision)


def _apart(variants: Sequence[Variant], machine: Machine) -> bool:
    """Whether a variant must be judged as another processor runs it."""
    return any(variant.precision == "int8" for variant in variants) and bool(_AMX & machine.features)


def _emulated(variants: Sequence[Variant], machine: Machine) -> bool:
    """Whether a variant is judged by imitation, for this processor cannot run it. On the glioma network 0.2.0 the imitation and a processor with AMX
    changed the mean Dice of each region alike, to 0.01 points."""
    return any(variant.precision == "bfloat16" for variant in variants) and _BF16 not in machine.features


def _file(weights: Path, kind: str) -> Path:
    return weights if kind == "bfloat16" else weights.with_name(f"{weights.stem}.{kind}.onnx")


def _means(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {region: float(np.mean([row[region] for row in scores.values()])) for region in next(iter(scores.values()))}


def _points_text(means: Mapping[str, float]) -> str:
    return "  ".join(f"{region} {100 * mean:.2f}" for region, mean in means.items())


def _spread(names: Sequence[str], count: int) -> list[str]:
    """At most `count` of the names, evenly spread over them."""
    return [names[round(at)] for at in np.linspace(0, len(names) - 1, min(count, len(names)))] if names else []


def _middle(channels: np.ndarray, multiple: int, largest: int = 160) -> np.ndarray:
    """The middle of (C, I, J, K), as float32, sides multiples of `multiple` and at most `largest`: every layer's outputs are held in memory."""
    size = [max(multiple, min(largest, side) // multiple * multiple) for side in channels.shape[1:]]
    low = [max(0, (side - n) // 2) for side, n in zip(channels.shape[1:], size, strict=True)]
    return np.ascontiguousarray(channels[(slice(None), *(slice(a, a + n) for a, n in zip(low, size, strict=True)))], np.float32)
