"""The benchmark Testing/benchmarks/pieces.py cuts brains into pieces of the side that it is told."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def pieces(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import pieces

    return pieces


class Session:
    """Answers with its own first three channels, and keeps the shapes that it was given."""

    provider = "toy"

    def __init__(self):
        self.shapes = []

    def run(self, channels, cancel=None):
        self.shapes.append(channels.shape[1:])
        return channels[:3]


CARD = SimpleNamespace(bytes_per_voxel=112.0, size_multiple=32)


@pytest.mark.parametrize("side, cut", [(0, (160, 192, 160)), (128, (128, 128, 128)), (96, (96, 96, 96))])
def test_no_piece_is_larger_than_asked_and_the_whole_is_one(pieces, side, cut):
    session, channels = Session(), np.ones((4, 160, 192, 160), np.float32)
    found, passes = pieces.seen(channels, session, CARD, side)
    assert set(session.shapes) == {cut}
    assert len(session.shapes) == passes
    assert np.allclose(found, 1)


def test_the_engine_cuts_pieces_while_it_is_told_so_and_no_longer(pieces):
    from braintumorseg.tiling import predict

    channels = np.ones((4, 160, 192, 160), np.float32)
    within, afterwards = Session(), Session()
    with pieces.in_pieces_of(96, CARD):
        predict(channels, within, CARD.size_multiple, CARD.bytes_per_voxel)
    predict(channels, afterwards, CARD.size_multiple, CARD.bytes_per_voxel)
    assert set(within.shapes) == {(96, 96, 96)}
    assert afterwards.shapes == [(160, 192, 160)]
