"""MONAI's sliding_window_inference (overlap 0.5, Gaussian) on torch, with the shipped weights, on what the engine's `prepare` made of a case.

    python peer_monai.py CHANNELS.npy OUT.npy

Prints one line of JSON: seconds of the inference alone, and the number of forward passes. OUT gets probabilities (R, I, J, K).
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from shared_weights import shipped


def main() -> None:
    channels, out = sys.argv[1:3]
    network, passes = shipped(), []
    network.register_forward_hook(lambda *_: passes.append(1))
    image = torch.from_numpy(np.load(channels))[None]
    with torch.inference_mode():
        network(image[..., :64, :64, :64])  # torch sets itself up
        passes.clear()
        began = time.perf_counter()
        probabilities = torch.sigmoid(sliding_window_inference(image, (128, 128, 128), 1, network, overlap=0.5, mode="gaussian"))
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        whole = torch.sigmoid(network(image))
        whole_seconds = time.perf_counter() - began
    np.save(out, probabilities[0].numpy())
    apart = float((whole - probabilities).abs().max())
    print(json.dumps({"seconds": round(seconds, 2), "passes": len(passes), "one_torch_pass_seconds": round(whole_seconds, 2),
                      "largest_difference_of_one_pass": round(apart, 3)}))


if __name__ == "__main__":
    main()
