import numpy as np

from braintumorseg.masks import bounding_box, largest_piece, pieces


def test_the_bounding_box_keeps_inside_the_image():
    mask = np.zeros((10, 10, 10), bool)
    mask[0:2, 3:5, 5:7] = True
    assert bounding_box(mask) == (slice(0, 2), slice(3, 5), slice(5, 7))
    assert bounding_box(mask, margin=2) == (slice(0, 4), slice(1, 7), slice(3, 9))
    assert bounding_box(np.zeros((3, 3, 3), bool), margin=2) is None


def test_voxels_that_share_a_corner_are_one_piece_and_the_largest_is_by_faces():
    mask = np.zeros((6, 6, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1:3] = mask[4, 4, 4] = True
    numbered, count = pieces(mask)
    assert count == 2 and numbered[0, 0, 0] == numbered[1, 1, 2] != numbered[4, 4, 4]
    assert pieces(mask[1])[1] == 1 and pieces(np.eye(4, dtype=bool))[1] == 1
    assert np.argwhere(largest_piece(mask)).tolist() == [[1, 1, 1], [1, 1, 2]]
    assert not largest_piece(np.zeros((3, 3, 3), bool)).any()
