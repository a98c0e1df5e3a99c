"""Made-up studies small enough to count by hand."""

import numpy as np

from braintumorseg.study import Study
from braintumorseg.volume import Volume

__all__ = ["make_toy_study"]


def make_toy_study(shape=(40, 44, 36), affine=None) -> Study:
    """See the fixture `toy_study`; `shape` and `affine` as wanted."""
    affine = np.diag([-1.0, -1, 1, 1]) if affine is None else affine
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    brain = (((index - np.array(shape) / 2) / (np.array(shape) / 2 - 2)) ** 2).sum(-1) < 1
    rng = np.random.default_rng(0)
    volumes = {}
    for role, half, value in (("t1", 5, 40), ("t1ce", 4, 180), ("t2", 0, 0), ("flair", 7, 180)):
        voxels = np.where(brain, rng.integers(90, 111, shape), 0)
        low = np.array(shape) // 2 - half
        voxels[tuple(slice(a, a + 2 * half) for a in low)] = value
        volumes[role] = Volume(voxels.astype(np.int16), affine)
    return Study(volumes, {role: "made up" for role in volumes})
