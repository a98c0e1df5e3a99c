"""From a checkpoint to NAME.onnx (float16 weights) with its card, checked against torch on a real crop."""

from __future__ import annotations

import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from braintumorseg.errors import ModelError, OutputError
from braintumorseg.io.replacing import put, replacing
from braintumorseg.labels import REGIONS
from braintumorseg.model_card import Label, ModelCard, PostProcessing, read_card, write_card
from braintumorseg.model_zoo import Model, sha256_of
from braintumorseg.runtime import open_session
from braintumorseg.study import ROLES

from .architectures import ARCHITECTURES
from .card_words import words_of
from .checkpoints import BEST, CHECKPOINT, load_checkpoint, load_weights
from .config import Config, RunConfig, config_from
from .data import PHANTOM, SYNTHETIC, Split, load_cases, load_made_up
from .lineage import Learned, Lineage, joined, learned_here, lineage_from, plain_lineage
from .networks import build
from .outputs import output_into
from .packing import packed_names
from .run_split import trained_split
from .splits import refuse_shared_patients, some_of

__all__ = ["LABELS", "LARGEST_DIFFERENCE", "bytes_per_voxel", "draft_card", "export", "halve", "largest_difference", "pack_zip", "write_checked",
           "write_onnx"]

LARGEST_DIFFERENCE = 1e-3  # in probability, between ONNX Runtime and torch with the same float16-rounded weights
PACKED_MULTIPLE = 32        # of a packed case's sides, voxels; a network with norms counts the air that this adds, so it is run with as much
CROPPING_MULTIPLE = 8       # of an input's sides, voxels, for a network that crops: 2 would do, and kernels like 8
OPSET = 18                 # read by ONNX Runtime from 1.14 on; macOS stops at 1.23

LABELS = (
    Label(1, "Necrosis or Non-Enhancing Core", ("6574001", "SCT", "Necrosis"), (216, 191, 216)),
    Label(2, "Edema", ("79654002", "SCT", "Edema"), (140, 224, 228)),
    Label(3, "Enhancing Lesion", ("C113842", "NCIt", "Enhancing Lesion"), (128, 174, 128)),
)

# Round numbers near the literature's, set once at an early checkpoint and not tuned: islands of 100 voxels at 1 mm are noise, and less than
# 0.2 ml of enhancement in a whole brain is more often a vessel than tumour (Isensee 2018 takes 0.5 ml, for high grades only).
POST_PROCESSING = PostProcessing(smallest_lesion_ml=0.1, smallest_et_ml=0.2)


class _Probabilities(nn.Module):
    """The network as users run it: probabilities out, sigmoid inside the graph."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.network(channels))


def draft_card(**known) -> ModelCard:
    """The card of a tumour network: what training, preprocessing and engine agree on, with `known` on top."""
    return ModelCard(**{
        "name": "glioma", "version": "0", "task": "Glioma sub-regions on brain MR (NCR, ED, ET)", "sha256": "0" * 64,
        "roles": ROLES, "may_be_missing": ROLES, "spacing_mm": (1.0, 1.0, 1.0), "size_multiple": PACKED_MULTIPLE, "bytes_per_voxel": 400.0,
        "brain_only": True, "regions": tuple(REGIONS), "labels": LABELS, "post_processing": POST_PROCESSING, **known})


def export(run: Path, packed: Path, split: Split, out: Path, name: str, version: str, say: Callable[[str], None], remark: str = "",
           best: bool = False, words: Mapping | None = None) -> Path:
    """Write out/NAME.onnx and NAME.json from the averaged weights of a run, its last ones or its `best`; returns the .onnx path.

    `split` trains on the run's own cases, which the card counts, with its made-up ones and with what the weights that the run began from had learned
    from, whose data sets it names too; what is not known of them it says. `remark` goes into the card's account of the training; `words` are what
    `card_words.read_words` gives.

    Raises ModelError, and leaves nothing, when the run was trained on other cases than the split says, or when ONNX Runtime and torch differ by
    more than LARGEST_DIFFERENCE anywhere on a real crop; OutputError when the disk is full or may not be written.
    """
    saved = load_checkpoint(run / (BEST if best else CHECKPOINT))
    split = trained_split(run, split)
    config = config_from(Config, saved["config"])
    made_up, mistaken = _made_up(saved, packed, split)
    split = _with_mistaken(split, mistaken, run.name)
    refuse_shared_patients(packed, split)
    cases = load_cases(packed, split.train)
    multiple = max(PACKED_MULTIPLE, config.size_multiple) if config.norm == "instance" else min(CROPPING_MULTIPLE, config.size_multiple)
    before = split.inherited or Lineage(complete=not config.init)    # an older run, which kept none, does not know what it began from
    inherited = [case.name for case in before.cases if case.cohort not in (PHANTOM, SYNTHETIC)]
    own = Lineage(tuple(learned_here(packed, name) for name in split.train))
    card = draft_card(
        name=name, version=version, size_multiple=multiple, spacing_mm=config.spacing_mm, bytes_per_voxel=bytes_per_voxel(config),
        **words_of([case.cohort for case in (*cases, *made_up)], words or {}, say, _besides(before, made_up)),
        training={"steps": saved["step"], "recipe": saved["config"], "remark": remark, "trained_on": [*split.train, *inherited],
                  **({"inherited": inherited} if inherited else {}), "lineage": plain_lineage(_described(joined([own, before]), words or {})),
                  "held_out": [*split.validation, *split.test], **_patches_a_step(run, saved),
                  **{key: saved[key] for key in ("average_of",) if key in saved}})
    network = build(config)
    load_weights(network, saved["average"], f"the checkpoint of {run.name}")
    return write_checked(network, saved["average"], _middle(np.array(cases[0].channels), multiple), card, out, say)


def write_checked(network: nn.Module, weights: dict, crop: np.ndarray, card: ModelCard, out: Path, say: Callable[[str], None]) -> Path:
    """Write `network` with these `weights` (a state_dict) and its card, whose hash is filled in, as out/NAME.onnx and NAME.json.

    Raises ModelError, and leaves nothing, when ONNX Runtime and torch differ by more than LARGEST_DIFFERENCE on `crop` (C, I, J, K); OutputError
    when the disk is full or may not be written.
    """
    network.eval().load_state_dict(weights)
    # Rounded before the comparison: float16 is how the weights are stored, so torch is to be compared with those.
    for tensor in network.parameters():
        tensor.data = tensor.data.half().float()
    with output_into(out), tempfile.TemporaryDirectory(dir=out) as temporary:
        path = Path(temporary) / f"{card.name}.onnx"
        write_onnx(network, crop, path)
        difference = largest_difference(network, path, crop)
        if difference > LARGEST_DIFFERENCE:
            raise ModelError(f"ONNX Runtime and torch differ by {difference:.1e} in probability (at most {LARGEST_DIFFERENCE:.0e} is allowed).",
                             "Nothing was written; look for an operator that exports wrongly.")
        parity = {"largest_difference": float(f"{difference:.1e}"), "allowed": LARGEST_DIFFERENCE,
                  "on": f"a {' x '.join(map(str, crop.shape[1:]))} crop, float16-rounded weights in both"}
        write_card(replace(card, sha256=sha256_of(path), training={**card.training, "parity": parity}), path.with_suffix(".json"))
        for suffix in (".onnx", ".json"):
            put(path.with_suffix(suffix), out / f"{card.name}{suffix}")
    say(f"ONNX Runtime against torch on a {' x '.join(map(str, crop.shape[1:]))} crop: at most {difference:.1e} in probability")
    return out / f"{card.name}.onnx"


def pack_zip(weights: Path, path: Path) -> Path:
    """Pack NAME.onnx, its variants and NAME.json as 'braintumorseg models add' takes them; returns `path`.

    Raises OutputError, and leaves no half file.
    """
    try:
        with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in Model(read_card(weights.with_suffix(".json")), weights).files:
                archive.write(weights.with_name(name), name)
    except OSError as error:
        raise OutputError(f"{path.name} cannot be written ({error.strerror}).", "Choose a folder that is there and has room.") from None
    return path


def _besides(before: Lineage, made_up: list[Learned]) -> Lineage:
    """What the weights before learned from, without the made-up cases that the run itself learned from too."""
    own = {case.name for case in made_up}
    return replace(before, cases=tuple(case for case in before.cases if case.cohort not in (PHANTOM, SYNTHETIC) or case.name not in own))


def _described(lineage: Lineage, words: Mapping) -> Lineage:
    """With what was said of its data sets, for whoever begins from this network."""
    cohorts = {case.cohort for case in lineage.cases}
    given = {cohort: said for cohort, said in words.get("data_sets", {}).items() if cohort in cohorts}
    return replace(lineage, data_sets={**lineage.data_sets, **given})


def _made_up(saved: dict, packed: Path, split: Split) -> tuple[list[Learned], list[str]]:
    """The made-up cases of the run, as its checkpoint remembers them, be they still packed or not; of a run that kept no names, those that are packed
    now. And the names of those that are none: older versions went by names, and took patients' cases that were called so."""
    known = {case.name: case for case in reversed(lineage_from(saved["lineage"]).cases)} if "lineage" in saved else {}
    if split.made_up is not None:
        names = split.made_up
    elif known:      # an average
        names = [case.name for case in load_made_up(packed, split)]
    else:
        names = [name for name in packed_names(packed) if name.startswith((f"{PHANTOM}_", f"{SYNTHETIC}_"))]
    cases = [known.get(name) or learned_here(packed, name) for name in names]
    return ([case for case in cases if case.cohort in (PHANTOM, SYNTHETIC)],
            [case.name for case in cases if case.cohort not in (PHANTOM, SYNTHETIC)])


def _with_mistaken(split: Split, mistaken: list[str], run: str) -> Split:
    """The split with the cases that the run was trained on besides. Raises ModelError when it holds one of them out."""
    if held_out := [name for name in mistaken if name in (*split.validation, *split.test)]:
        raise ModelError(f"The run in {run} was trained on {some_of(held_out)}, which its split holds out: an older version took cases with such "
                         "names for made-up ones.",
                         "Train it again, in another --out; this version looks at what was packed, not at names.")
    return replace(split, train=tuple(dict.fromkeys((*split.train, *mistaken))))


def _patches_a_step(run: Path, saved: dict) -> dict[str, int]:
    """For the card: those of all processes together, which best.pt leaves to the checkpoint; {} where nothing says how many there were."""
    if "processes" not in saved:
        with suppress(ModelError):
            saved = load_checkpoint(run / CHECKPOINT)
    if "processes" not in saved:
        return {}
    config = config_from(Config, saved["config"])
    return {"patches_a_step": config.batch * saved["processes"] * config.accumulate}


def write_onnx(network: nn.Module, example: np.ndarray, path: Path) -> None:
    """ONNX of (1, C, I, J, K) -> probabilities (1, R, I, J, K), sides free, weights as float16 that the runtime widens when it loads."""
    import onnx

    plain = _plain_norms(_Probabilities(network)).eval()
    with warnings.catch_warnings():
        # It says that it is the older of torch's two exporters, and that norms use each image's own statistics, which is their point.
        warnings.simplefilter("ignore")
        torch.onnx.export(plain, (torch.from_numpy(example)[None],), str(path), dynamo=False, opset_version=OPSET,
                          input_names=["channels"], output_names=["probabilities"],
                          dynamic_axes={"channels": {2: "i", 3: "j", 4: "k"}, "probabilities": {2: "i", 3: "j", 4: "k"}})
    model = onnx.load(path)
    halve(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def largest_difference(network: nn.Module, weights: Path, crop: np.ndarray) -> float:
    """Largest absolute difference in probability between torch and ONNX Runtime's CPU on channels (C, I, J, K)."""
    with torch.inference_mode():
        wanted = torch.sigmoid(network.eval()(torch.from_numpy(crop)[None]))[0].numpy()
    return float(np.abs(open_session(weights, "cpu").run(crop) - wanted).max())


def _plain_norms(module: nn.Module) -> nn.Module:
    """A copy with every one-group-a-channel norm as InstanceNorm3d: the same numbers, one ONNX operator instead of five."""
    from copy import deepcopy

    module = deepcopy(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm) and child.num_groups == child.num_channels:
                norm = nn.InstanceNorm3d(child.num_channels, eps=child.eps, affine=True)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)
    return module


def halve(model) -> None:
    """Store float32 weights of 100 numbers or more as float16 with a Cast behind each; the arithmetic stays float32.

    Lists of numbers, one a channel, stay as they are: the steps of 8-bit integers are such.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1 and np.prod(tensor.dims) >= 100:
            name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


def bytes_per_voxel(config: RunConfig) -> float:
    """Seven feature maps of the first level in float32: what ONNX Runtime's CPU was measured to need for resunet, unet and attention_unet, and
    more than it needs for segresnet (4.4)."""
    return 7 * config.channels[0] * 4 / ARCHITECTURES[config.network].voxels_per_feature


def _middle(channels: np.ndarray, multiple: int) -> np.ndarray:
    """A crop of (C, I, J, K) as float32: sides of at most 96 voxels, multiples of `multiple` and, where that allows it, of no more.

    No side has less than twice `multiple`, for norms need more than one voxel at the deepest level; zeros lie behind what the case lacks of that.
    """
    size = [max(2 * multiple, min(96 - multiple % 32, side) // multiple * multiple) for side in channels.shape[1:]]
    low = [max(0, side - n) // 2 for side, n in zip(channels.shape[1:], size, strict=True)]
    crop = channels[(slice(None), *(slice(a, a + n) for a, n in zip(low, size, strict=True)))]
    return np.pad(np.ascontiguousarray(crop, np.float32), [(0, 0), *((0, n - side) for side, n in zip(crop.shape[1:], size, strict=True))])
