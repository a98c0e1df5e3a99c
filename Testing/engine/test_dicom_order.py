"""What says in which order slices lie: their places, and when numbers or locations contradict them."""


import pytest

from braintumorseg.io.dicom import read_stack
from dicom_toys import oblique, refusal, same_place, scanned, slices_of_volume, toy_volume


def test_two_slices_that_swapped_their_positions_are_found_by_their_numbers(tmp_path):
    slices = slices_of_volume(toy_volume((4, 4, 12)))
    a, b = slices[3], slices[7]
    a.ImagePositionPatient, b.ImagePositionPatient = b.ImagePositionPatient, a.ImagePositionPatient
    assert "2 slices lie elsewhere by ImagePositionPatient than by InstanceNumber" in refusal(scanned(tmp_path, slices))


def test_two_slices_that_swapped_their_positions_are_found_by_their_location(tmp_path):
    slices = slices_of_volume(toy_volume((4, 4, 5)))
    for one in slices:
        one.SliceLocation = one.ImagePositionPatient[2]
    slices[1].ImagePositionPatient, slices[3].ImagePositionPatient = slices[3].ImagePositionPatient, slices[1].ImagePositionPatient
    assert "SliceLocation" in refusal(scanned(tmp_path, slices))


@pytest.mark.parametrize("swaps", [((3, 9), (12, 20)), ((3, 9), (12, 20), (5, 25), (7, 30), (8, 33))], ids=["4 slices", "10 slices"])
@pytest.mark.parametrize("sign", [1, -1])
def test_many_slices_that_swapped_their_positions_are_found_where_the_locations_are_the_same_places(tmp_path, swaps, sign):
    slices = slices_of_volume(toy_volume((4, 4, 37)), InstanceNumber=1)
    for one in slices:
        one.SliceLocation = sign * round(float(one.ImagePositionPatient[2]), 2)
    for a, b in ((slices[i], slices[j]) for i, j in swaps):
        a.ImagePositionPatient, b.ImagePositionPatient = b.ImagePositionPatient, a.ImagePositionPatient
    assert f"{2 * len(swaps)} slices lie elsewhere by ImagePositionPatient than by SliceLocation" in refusal(scanned(tmp_path, slices))


@pytest.mark.parametrize(("axis", "turn"), [(0, oblique(22, -15, 10)), (1, oblique(22, -15, 10)), (2, oblique(22, -15, 10)), (2, oblique(22, 0, 0))],
                         ids=["x", "y", "z", "z, tilted"])
@pytest.mark.parametrize("digits", [6, 1, 0])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_location_that_is_one_coordinate_of_an_oblique_slice_is_no_contradiction(tmp_path, axis, turn, digits, sign):
    """The standard does not say what SliceLocation is measured along."""
    volume = toy_volume((4, 4, 26), (1.0, 1.0, 5.5), turn)
    slices = slices_of_volume(volume)
    for one in slices:
        one.SliceLocation = f"{sign * round(float(one.ImagePositionPatient[axis]), digits):.6f}"
    (stack,) = scanned(tmp_path, slices).stacks
    assert same_place(read_stack(stack), volume)


@pytest.mark.parametrize("swapped", [(3, 17), (0, 25), (11, 12)])
def test_two_swapped_positions_are_found_by_a_location_that_is_one_coordinate(tmp_path, swapped):
    slices = slices_of_volume(toy_volume((4, 4, 26), (1.0, 1.0, 5.5), oblique(22, -15, 10)), InstanceNumber=1)
    for one in slices:
        one.SliceLocation = f"{float(one.ImagePositionPatient[2]):.2f}"
    a, b = (slices[place] for place in swapped)
    a.ImagePositionPatient, b.ImagePositionPatient = b.ImagePositionPatient, a.ImagePositionPatient
    assert "2 slices lie elsewhere by ImagePositionPatient than by SliceLocation" in refusal(scanned(tmp_path, slices))


def test_locations_that_tell_many_slices_elsewhere_tell_nothing(tmp_path):
    """Distances from the middle, without a sign."""
    volume = toy_volume((4, 4, 30))
    slices = slices_of_volume(volume)
    for place, one in enumerate(slices):
        one.SliceLocation = abs(place - 11.25)
    (stack,) = scanned(tmp_path, slices).stacks
    assert same_place(read_stack(stack), volume)


@pytest.mark.parametrize("numbers", [[1, 6, 2, 7, 3, 8, 4, 5], [8, 7, 6, 5, 4, 3, 2, 1], [5, 6, 7, 8, 1, 2, 3, 4], [1] * 8, [None] * 8], ids=str)
def test_honest_orders_of_instance_numbers_are_accepted(tmp_path, numbers):
    volume = toy_volume()
    slices = slices_of_volume(volume)
    for one, number in zip(slices, numbers, strict=True):
        one.InstanceNumber = number
    (stack,) = scanned(tmp_path, slices).stacks
    assert same_place(read_stack(stack), volume)
