"""The benchmark Testing/benchmarks/pieces.py cuts brains into pieces of the side that it is told."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.mark.parametrize("side, cut", [(0, (160, 192, 160)), (128, (128, 128, 128)), (96, (96, 96, 96))])
def test_no_piece_is_larger_than_asked_and_the_whole_is_one(monkeypatch, side, cut):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import pieces

    shapes = []

    class Session:
        provider = "toy"

        def run(self, channels, cancel=None):
            shapes.append(channels.shape[1:])
            return channels[:3]

    channels = np.ones((4, 160, 192, 160), np.float32)
    found, passes = pieces.seen(channels, Session(), SimpleNamespace(bytes_per_voxel=112.0, size_multiple=32), side)
    assert set(shapes) == {cut}
    assert len(shapes) == passes
    assert np.allclose(found, 1)
