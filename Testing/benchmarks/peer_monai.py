"""MONAI's sliding_window_inference (overlap 0.5, Gaussian) on torch, with the shipped weights, on what the engine's `prepare` made of a case.

    python peer_monai.py CHANNELS.npy OUT.npy [--device cpu] [--runs 3]

Prints one line of JSON: seconds of the inference alone, from the host's memory and back, the fastest of `--runs` after one that does not count;
the number of forward passes; the same for one pass over the whole brain. OUT gets probabilities (R, I, J, K).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from measured import fastest
from monai.inferers import sliding_window_inference
from shared_weights import exact_float32, shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("channels", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    exact_float32()
    network, passes = shipped().to(args.device), []
    network.register_forward_hook(lambda *_: passes.append(1))
    image = torch.from_numpy(np.load(args.channels))[None]

    def in_windows() -> torch.Tensor:
        passes.clear()
        return torch.sigmoid(sliding_window_inference(image.to(args.device), (128, 128, 128), 1, network, overlap=0.5, mode="gaussian")).cpu()

    with torch.inference_mode():
        probabilities, seconds = fastest(in_windows, args.runs)
        windows = len(passes)
        whole, whole_seconds = fastest(lambda: torch.sigmoid(network(image.to(args.device))).cpu(), args.runs)
    np.save(args.out, probabilities[0].numpy())
    print(json.dumps({"seconds": round(seconds, 3), "runs": args.runs, "passes": windows, "one_torch_pass_seconds": round(whole_seconds, 3),
                      "precision": "float32", "threads": torch.get_num_threads(),
                      "largest_difference_of_one_pass": round(float((whole - probabilities).abs().max()), 3)}))


if __name__ == "__main__":
    main()
