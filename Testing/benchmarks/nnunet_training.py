"""Plain nnU-Net v2 and our `fit`: the same split, machine and minutes of training, then the validation cases scored with one ruler.

    python nnunet_training.py CASES --table cases.csv --packed PACKED --minutes 20 --out DIR [--only nnunet|ours] [--tiny]

nnU-Net: 3d_fullres, the default planner, preprocessing, network, loss, augmentation, optimiser and batch. Changed: it stops after the given
minutes, its rate falls (polynomially, 0.9, as ever) with the share of the minutes instead of 1000 epochs, and no time goes to its validation
between epochs. It plans from all cases of the split, as its cross-validation does, and trains on those to train on. The last weights predict
the validation cases, with mirroring only where --mirroring asks for it (8 times as long). Ours: the shipped recipe from random weights,
with as many steps as fit into the minutes, exported, run by the engine. Minutes count training alone: neither planning nor packing.
`--tiny` shrinks nnU-Net's patch and the split to two cases: to try the script out, not to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from measured import OtherWork, machine

DATASET, NUMBER = "Dataset501_Glioma", 501
TINY_PATCH = [64, 64, 64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="folder of cases, as for `braintumorseg-train prepare`")
    parser.add_argument("--labels", choices=("brats2021", "brats2023"), help="label convention of every case")
    parser.add_argument("--table", type=Path, help="CSV with columns case, labels: the convention case by case")
    parser.add_argument("--packed", type=Path, required=True, help="folder that braintumorseg-train prepare wrote, for ours")
    parser.add_argument("--split", type=Path, help="JSON with train and validation (default: the 24 cases' own)")
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, for each (20)")
    parser.add_argument("--only", choices=("nnunet", "ours"))
    parser.add_argument("--config", type=Path, help="JSON with fields of our configuration (default: the shipped recipe)")
    parser.add_argument("--mirroring", action="store_true", help="nnU-Net predicts with its eight mirrors")
    parser.add_argument("--tiny", action="store_true", help="try the script out: two cases, a small patch")
    parser.add_argument("--out", type=Path, required=True, help="folder for nnunet_training.json and .md; both keep what is not run again")
    args = parser.parse_args()
    import torch

    from braintumorseg_training.case_folder import CaseFolder
    from braintumorseg_training.case_table import read_table
    from braintumorseg_training.cli import OWN_SPLIT
    from braintumorseg_training.data import Split, read_split

    split = read_split(args.split or OWN_SPLIT)
    if args.tiny:
        split = Split(split.train[:1], split.validation[:1], "two cases, to try the script out")
    folder = CaseFolder(args.cases, args.labels or "", read_table(args.table) if args.table else {})
    args.out.mkdir(parents=True, exist_ok=True)
    kept = args.out / "nnunet_training.json"
    result = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for name, run in (("nnunet", nnunet), ("ours", ours)):
        if args.only in (None, name):
            with tempfile.TemporaryDirectory() as temporary, OtherWork() as others:
                dice, about = run(args, split, folder, Path(temporary))
            about |= {"threads": torch.get_num_threads(), "others_share": others.share}
            result[name] = {**about, "machine": machine(), "validation": list(split.validation), "train": len(split.train), "dice": dice,
                            "mean": {region: round(float(np.mean(values)), 4) for region, values in dice.items()}}
            kept.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (args.out / "nnunet_training.md").write_text(table(result), encoding="utf-8")
    print(table(result))


def nnunet(args, split, folder, work: Path):
    """(Dice by region and case, what was done) of plain nnU-Net in the folder `work`."""
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[variable] = str(work / variable)
    os.environ.setdefault("nnUNet_n_proc_DA", str(max(1, (os.cpu_count() or 2) // 2)))  # workers beside the training, as ours has
    loaded = to_nnunet(split, folder, work / "nnUNet_raw" / DATASET)
    plans = plan(work, args.tiny)
    trainer, seconds = trained(plans, work, split, args.minutes)
    began = time.perf_counter()
    files = predicted(trainer, work, split.validation, args.mirroring)
    predicting = time.perf_counter() - began
    from braintumorseg.io.nifti import read_nifti
    from braintumorseg.labels import REGIONS, region_mask
    from braintumorseg.metrics import dice

    found = {name: read_nifti(files[name]) for name in split.validation}
    scores = {region: [round(dice(region_mask(loaded[name].voxels, region), region_mask(found[name].voxels, region)), 4) for name in split.validation]
              for region in REGIONS}  # Dice alone: a network of a few steps finds thousands of specks, whose other scores take minutes
    configuration = plans["configurations"]["3d_fullres"]
    return scores, {"minutes": round(seconds / 60, 2), "steps": trainer.steps_done, "patch": configuration["patch_size"],
                    "batch": configuration["batch_size"], "mirroring": args.mirroring,
                    "predict_seconds_a_case": round(predicting / len(files), 1), "tiny": args.tiny,
                    "last_loss": round(float(np.mean(trainer.losses[-5:])), 4) if trainer.losses else None}


def to_nnunet(split, folder, out: Path) -> dict:
    """Write the split's cases as nnU-Net reads them, regions as labels; name -> truth of those to validate on."""
    from braintumorseg.io.nifti import write_nifti
    from braintumorseg.study import ROLES

    cases = folder.find([*split.train, *split.validation])
    for part in ("imagesTr", "labelsTr"):
        (out / part).mkdir(parents=True)
    truths = {}
    for name, case in cases.items():
        study, truth = case.read()
        for number, role in enumerate(ROLES):
            write_nifti(study.volumes[role], out / "imagesTr" / f"{name}_{number:04d}.nii.gz")
        write_nifti(truth, out / "labelsTr" / f"{name}.nii.gz")
        truths |= {name: truth} if name in split.validation else {}
    (out / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}, "file_ending": ".nii.gz", "numTraining": len(cases),
        "labels": {"background": 0, "whole tumour": [1, 2, 3], "tumour core": [1, 3], "enhancing tumour": [3]}, "regions_class_order": [2, 1, 3]}))
    return truths


def plan(work: Path, tiny: bool) -> dict:
    """nnU-Net's own fingerprint, plans and preprocessing; returns the plans."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    extract_fingerprints([NUMBER], num_processes=os.cpu_count() or 1)
    plan_experiments([NUMBER])
    path = work / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    if tiny:
        plans["configurations"]["3d_fullres"]["patch_size"] = TINY_PATCH
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] |= _shallow(plans)
        path.write_text(json.dumps(plans))
    preprocess([NUMBER], configurations=["3d_fullres"], num_processes=[os.cpu_count() or 1])
    return plans


def _shallow(plans: dict) -> dict:
    """Four of the planned stages: a patch of 64 voxels cannot be halved as often as one of 128."""
    kwargs, stages = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"], 4
    return {"n_stages": stages, **{name: value[:stages] for name, value in kwargs.items()
                                   if isinstance(value, list) and name not in ("n_conv_per_stage_decoder",)},
            "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"][:stages - 1]}


def trained(plans: dict, work: Path, split, minutes: float):
    """(trainer, seconds) after the given minutes of nnU-Net's default training."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class TrainerOfMinutes(nnUNetTrainer):
        """The default trainer, until the minutes are over: no epochs, the rate by the share of the time."""

        def do_split(self):
            return list(split.train), list(split.validation)

        def run_for(self, seconds: float) -> float:
            self.on_train_start()
            self.network.train()
            self.steps_done, self.losses, began = 0, [], time.perf_counter()
            while (passed := time.perf_counter() - began) < seconds:
                for group in self.optimizer.param_groups:
                    group["lr"] = self.initial_lr * (1 - passed / seconds) ** 0.9
                self.losses.append(float(self.train_step(next(self.dataloader_train))["loss"]))
                self.steps_done += 1
            passed = time.perf_counter() - began
            print(f"nnU-Net: {self.steps_done} steps in {passed / 60:.1f} minutes", flush=True)
            self.on_train_end()
            return passed

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = json.loads((work / "nnUNet_raw" / DATASET / "dataset.json").read_text())
    trainer = TrainerOfMinutes({**plans, "continue_training": False}, "3d_fullres", 0, dataset, device)
    trainer.initialize()
    return trainer, trainer.run_for(60 * minutes)


def predicted(trainer, work: Path, names, mirroring: bool) -> dict[str, Path]:
    """Name -> label file that nnU-Net's predictor made with the trainer's last weights."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(use_mirroring=mirroring, device=trainer.device, perform_everything_on_device=trainer.device.type == "cuda",
                                allow_tqdm=False)
    predictor.manual_initialization(trainer.network.eval(), trainer.plans_manager, trainer.configuration_manager, [trainer.network.state_dict()],
                                    trainer.dataset_json, "nnUNetTrainer", trainer.inference_allowed_mirroring_axes)
    images, out = work / "nnUNet_raw" / DATASET / "imagesTr", work / "predicted"
    out.mkdir()
    predictor.predict_from_files_sequential([[str(images / f"{name}_{number:04d}.nii.gz") for number in range(4)] for name in names],
                                            [str(out / name) for name in names])
    return {name: out / f"{name}.nii.gz" for name in names}


def ours(args, split, folder, work: Path):
    """(Dice by region and case, what was done) of `fit`, export and validate, in the folder `work`."""
    from dataclasses import replace

    from braintumorseg.labels import REGIONS
    from braintumorseg_training.config import Config, read_config
    from braintumorseg_training.export import export
    from braintumorseg_training.train import fit
    from braintumorseg_training.validate import validate

    config = read_config(args.config) if args.config else Config()
    trial = replace(config, steps=8, warm_up=min(config.warm_up, 2), save_every=8, validate_every=8)
    without = replace(split, validation=())  # while the time runs, nothing but training
    paces: list[float] = []
    for number, steps in enumerate((2, 2, 8)):  # what is slow only once is over after the first
        began = time.perf_counter()
        fit(replace(trial, steps=steps), args.packed, without, work / f"trial{number}", say=lambda line: None)
        paces.append(time.perf_counter() - began)
    pace = max((paces[2] - paces[1]) / 6, 1e-3)
    steps = max(4, round(60 * args.minutes / pace))
    config = replace(config, steps=steps, warm_up=min(config.warm_up, steps // 4), save_every=steps, validate_every=steps)
    began = time.perf_counter()
    fit(config, args.packed, without, work / "run", say=lambda line: print(line, flush=True))
    seconds = time.perf_counter() - began
    export(work / "run", args.packed, split, work / "network", "compared", "0.0.0", say=print)
    began = time.perf_counter()
    evaluation = validate(work / "network" / "compared.onnx", folder, split, work / "validation", subsets=False, write=False,
                          say=print).evaluation
    scores = {region: [round(one.scores[region].dice, 4) for one in evaluation.results] for region in REGIONS}
    return scores, {"minutes": round(seconds / 60, 2), "steps": steps, "patch": list(config.patch), "batch": config.batch,
                    "predict_seconds_a_case": round((time.perf_counter() - began) / len(split.validation), 1), "tiny": args.tiny}


def table(result: dict) -> str:
    lines = ["# Training: nnU-Net v2 and ours in the same minutes", "", "Mean Dice (worst) over whole cases, both empty counts 1; made by "
             "`nnunet_training.py`, whose head says what was changed in nnU-Net.", "",
             "| | minutes | threads | others' cores | steps | patch | batch | WT | TC | ET | N | predict s a case |",
             "|---" * 12 + "|"]
    for name, label in (("nnunet", "nnU-Net v2, 3d_fullres"), ("ours", "ours")):
        if name in result:
            one = result[name]
            dice = " | ".join(f"{np.mean(values):.3f} ({min(values):.3f})" for values in one["dice"].values())
            lines.append(f"| {label}{', tiny: not a comparison' if one['tiny'] else ''} | {one['minutes']} | {one['threads']} | "
                         f"{one['others_share']:.0%} | {one['steps']} | {' x '.join(map(str, one['patch']))} | "
                         f"{one['batch']} | {dice} | {len(one['validation'])} | "
                         f"{one['predict_seconds_a_case']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
