import pytest
import torch

from braintumorseg_training.line_filters import blur, coarsen


def test_thick_slices_keep_the_mean_and_even_out_along_their_axis_alone():
    x = torch.zeros(12, 12, 12)
    x[6] = 1.0
    assert torch.allclose(coarsen(x, 1, 3.0), x, atol=1e-6)          # nothing to even out
    thick = coarsen(x, 0, 3.0)
    assert thick.max() < 0.5
    assert thick.sum() == pytest.approx(144, rel=0.05)
    assert torch.equal(thick[:, 0, 0], thick[:, 5, 7])


def test_a_blurred_constant_stays_constant_inside_and_an_impulse_keeps_its_sum():
    x = torch.zeros(16, 16, 16)
    x[8, 8, 8] = 1
    blurred = blur(x, 1.0)
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    assert blurred[8, 8, 8] == pytest.approx(0.399**3, rel=0.05)
    assert torch.allclose(blur(torch.ones(16, 16, 16), 1.0)[4:12, 4:12, 4:12], torch.ones(8, 8, 8), atol=1e-4)
