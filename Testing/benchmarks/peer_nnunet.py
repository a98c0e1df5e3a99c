"""nnU-Net v2's nnUNetPredictor with the shipped weights on one case, files to files: its own tiles, mirrors and export.

    python peer_nnunet.py CASE OUT [--no-mirroring] [--device cpu] [--warm-ups 0] [--runs 1]

CASE holds case_0000.nii.gz ... (T1, T1ce, T2, FLAIR on one 1 mm grid whose axes grow right, anterior, superior); OUT gets case.nii.gz. Prints
one line of JSON: seconds without imports and without loading the weights (the fastest of `--runs`, after `--warm-ups` that do not count), and the
number of forward passes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # where plans.json finds shared_weights.SharedNetwork
for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(folder, tempfile.gettempdir())  # it only warns of their absence; nothing is read from there

PATCH = [128, 128, 128]  # what the network was trained on


def model_folder(folder: Path) -> Path:
    """An nnU-Net model folder that holds our network: dataset.json, plans.json, fold_0/checkpoint_final.pth."""
    import torch
    from shared_weights import sizes, weights_of

    from braintumorseg.model_zoo import load_model

    dataset = {"channel_names": {str(n): name for n, name in enumerate(("T1", "T1ce", "T2", "FLAIR"))}, "file_ending": ".nii.gz", "numTraining": 19,
               "labels": {"background": 0, "whole tumour": [1, 2, 3], "tumour core": [1, 3], "enhancing tumour": [3]},
               "regions_class_order": [2, 1, 3]}
    resampling = {f"resampling_fn_{what}": "resample_data_or_seg_to_shape" for what in ("data", "seg", "probabilities")}
    resampling |= {f"resampling_fn_{what}_kwargs": {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}
                   for what, order in (("data", 3), ("seg", 1), ("probabilities", 1))}
    plans = {
        "dataset_name": "Dataset001_Shared", "plans_name": "nnUNetPlans", "image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0], "original_median_shape_after_transp": [140, 170, 140],
        # It reads files as K, J, I; our network reads I, J, K.
        "transpose_forward": [2, 1, 0], "transpose_backward": [2, 1, 0],
        "foreground_intensity_properties_per_channel": {str(n): {} for n in range(4)},
        "configurations": {"3d_fullres": {
            "data_identifier": "shared", "preprocessor_name": "DefaultPreprocessor", "batch_size": 1, "patch_size": PATCH,
            "median_image_size_in_voxels": [140, 170, 140], "spacing": [1.0, 1.0, 1.0], "normalization_schemes": ["ZScoreNormalization"] * 4,
            "use_mask_for_norm": [True] * 4, "batch_dice": False, **resampling,
            "architecture": {"network_class_name": "shared_weights.SharedNetwork", "arch_kwargs": sizes(),
                             "_kw_requires_import": []}}}}
    (folder / "fold_0").mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / "plans.json").write_text(json.dumps(plans))
    torch.save({"network_weights": weights_of(load_model().weights), "trainer_name": "nnUNetTrainer", "init_args": {"configuration": "3d_fullres"},
                "inference_allowed_mirroring_axes": (0, 1, 2)}, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--no-mirroring", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--warm-ups", type=int, default=0)
    parser.add_argument("--runs", type=int, default=1)
    args = parser.parse_args()
    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as temporary:
        import torch
        from nnunetv2.configuration import default_num_processes
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        predictor = nnUNetPredictor(use_mirroring=not args.no_mirroring, device=torch.device(args.device), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(model_folder(Path(temporary) / "model")), (0,))
        passes = []
        predictor.network.register_forward_hook(lambda *_: passes.append(1))
        files = [str(args.case / f"case_{n:04d}.nii.gz") for n in range(4)]
        args.out.mkdir(parents=True, exist_ok=True)
        each = []
        for _ in range(args.warm_ups + args.runs):
            passes.clear()
            began = time.perf_counter()
            predictor.predict_from_files_sequential([files], [str(args.out / "case")], overwrite=True)
            each.append(time.perf_counter() - began)
        threads = min(torch.get_num_threads(), default_num_processes)   # its predictor takes no more
    print(json.dumps({"seconds": round(min(each[args.warm_ups:]), 3), "passes": len(passes), "tile_step": predictor.tile_step_size,
                      "gaussian": predictor.use_gaussian, "threads": threads,
                      "precision": "float32" if args.device == "cpu" else "float16 (autocast)"}))


if __name__ == "__main__":
    main()
