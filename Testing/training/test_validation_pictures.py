"""The picture of a network's worst case: through the patient, wherever the error is."""

import numpy as np
import pytest

from braintumorseg.evaluate import evaluate_pair
from braintumorseg.labels import ED
from braintumorseg.segmentation import Provenance, Segmentation
from braintumorseg_training import validation_pictures
from braintumorseg_training.validation_pictures import draw_error


@pytest.fixture
def drawn(toy_study, toy_model, tmp_path, monkeypatch):
    """drawn(truth, found) -> the panels of the picture of the worst WT; both are (I, J, K) uint8."""
    pages, draw = [], validation_pictures.draw_page

    def keep(rows, *more):
        pages.append([panel for row in rows for panel in row])
        return draw(rows, *more)

    monkeypatch.setattr(validation_pictures, "draw_page", keep)

    def make(truth, found):
        volumes = [toy_study.reference.with_voxels(voxels) for voxels in (truth, found)]
        segmentation = Segmentation(volumes[1], toy_model.card.labels, Provenance("toy", "1", "0" * 64, "CPU"))
        draw_error("WT", evaluate_pair(*volumes), toy_study, volumes[0], segmentation, tmp_path / "p.png")
        assert (tmp_path / "p.png").stat().st_size > 1000
        return pages[-1]

    return make


def cube(low, high):
    """Oedema (I, J, K) in a corner of the toy study's grid or in the middle of its brain."""
    labels = np.zeros((40, 44, 36), np.uint8)
    labels[low:high, low:high, low:high] = ED
    return labels


@pytest.mark.parametrize("truth, found", [
    (cube(17, 21), cube(0, 5)),                        # the tumour is missed, and more is found in the air
    (cube(16, 22), cube(16, 22) | cube(0, 5)),         # all error lies in the air
    (cube(0, 0), cube(0, 5))])                         # and there is no tumour
def test_a_network_that_fires_in_the_air_is_shown_in_slices_of_the_brain(drawn, truth, found):
    panels = drawn(truth, found)
    assert len(panels) == 12
    for panel in panels:
        assert np.count_nonzero(panel.grey) > 200, panel.title
    if truth.any():
        assert all((panel.labels == ED).any() for panel in panels if panel.title.endswith("truth"))
