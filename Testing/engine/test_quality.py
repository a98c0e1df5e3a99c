"""Each flag is raised by what it is about and by nothing else, on made-up brains; none is raised by experts' outlines."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from braintumorseg.io.dicom_series import LeftAside
from braintumorseg.io.readers import read_volume
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.measure import Measurements, measure
from braintumorseg.quality import Flag, check
from braintumorseg.segmentation import Provenance, Segmentation
from braintumorseg.skull_strip import StudyBrain
from braintumorseg.study import ROLES, TITLES, Study
from braintumorseg.volume import Volume

SHAPE, CENTRE, RADII = (56, 68, 52), np.array([28, 34, 26]), np.array([22, 28, 20])  # 3 mm voxels: 132 x 168 x 120 mm of brain
AFFINE = np.array([[-3.0, 0, 0, 84], [0, -3, 0, 102], [0, 0, 3, -78], [0, 0, 0, 1]])  # LPS


def ball(centre, radii, shape=SHAPE) -> np.ndarray:
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return (((places - centre) / radii) ** 2).sum(axis=-1) <= 1


BRAIN = ball(CENTRE, RADII)
TUMOUR = ball((20, 34, 28), 6)


def image(seed: int, brain=BRAIN, tumour=None) -> Volume:
    """Noise in the brain, 0 outside; the tumour is three times as bright."""
    voxels = np.where(brain, np.random.default_rng(seed).integers(80, 120, SHAPE), 0)
    return Volume(np.where(brain & tumour, 300, voxels) if tumour is not None else voxels, AFFINE)


def study(roles=ROLES, **other: Volume) -> Study:
    made = {role: image(n, tumour=TUMOUR if role == "t1ce" else None) for n, role in enumerate(ROLES)}
    return Study({role: other.get(role, made[role]) for role in roles})


def segmented(of: Study, tumour=TUMOUR) -> Segmentation:
    return Segmentation(of.reference.with_voxels(tumour.astype(np.uint8) * ET), (),
                        Provenance("made up", "1", "0" * 64, "CPU", missing=of.missing))


def codes(of: Study, tumour=TUMOUR, moved=None, brain=None) -> list[str]:
    return [flag.code for flag in check(of, replace(segmented(of, tumour), moved=moved or {}, brain=brain))]


def found_brain(mask=BRAIN, **agreement: float) -> StudyBrain:
    return StudyBrain(Volume(mask.astype(np.uint8), AFFINE), "found", agreement)


def test_a_tumour_well_inside_a_whole_brain_with_all_sequences_raises_nothing():
    assert codes(study()) == []


def test_an_empty_result_is_said_and_does_not_claim_that_there_is_no_tumour():
    of = study()
    flag, = check(of, segmented(of, np.zeros(SHAPE, bool)))
    assert (flag.code, flag.severity) == ("empty_result", "warning")
    assert "no proof" in flag.text


@pytest.mark.parametrize("role, text, severity", [("t1ce", "ET and TC volumes are unreliable", "warning"),
                                                  ("flair", "often too small", "warning"),
                                                  ("t1", "blood", "info"), ("t2", "cysts", "info")])
def test_each_missing_sequence_says_what_cannot_be_seen(role, text, severity):
    of = study(tuple(other for other in ROLES if other != role))
    flag, = check(of, segmented(of))
    assert (flag.code, flag.severity) == ("missing_sequence", severity)
    assert text in flag.text


def test_warnings_come_before_notes():
    of = study(("t1ce",))
    assert [flag.severity for flag in check(of, segmented(of))] == ["warning", "info", "info"]


def test_a_tumour_at_the_natural_border_of_the_brain_is_not_at_the_edge_of_the_image():
    assert codes(study(), BRAIN & ball((28, 34, 45), 8)) == []  # at the top
    assert codes(study(), BRAIN & ball((8, 34, 26), 8)) == []   # at one side


@pytest.mark.parametrize("axis, side, word", [(0, 1, "left"), (1, 1, "back"), (2, 1, "top"), (2, 0, "bottom")])
def test_a_tumour_where_the_image_ends_is_at_its_edge_and_the_side_is_named(axis, side, word):
    cut = CENTRE[axis] + (12 if side else -12)
    kept = tuple(slice(None) if other != axis else (slice(None, cut) if side else slice(cut, None)) for other in range(3))
    origin = AFFINE.copy()
    origin[:3, 3] += AFFINE[:3, :3] @ [0 if side or other != axis else cut for other in range(3)]
    place = CENTRE.copy()
    place[axis] = cut
    full = study()
    of = Study({role: Volume(volume.voxels[kept], origin) for role, volume in full.volumes.items()})
    flags = check(of, segmented(of, (BRAIN & ball(place, 6))[kept]))
    text, = (flag.text for flag in flags if flag.code == "touches_edge")
    assert f"({word})" in text
    assert "touches_edge" not in [flag.code for flag in check(of, segmented(of, TUMOUR[kept] & ball(CENTRE, 9)[kept]))]


def test_a_tumour_at_the_end_of_a_slab_inside_the_image_is_at_the_edge_too():
    slab = BRAIN.copy()
    slab[:, :, 36:] = False
    of = study(**{role: image(n, slab) for n, role in enumerate(ROLES)})
    assert "touches_edge" in codes(of, slab & ball((28, 34, 35), 6))
    assert "touches_edge" not in codes(of, slab & ball((28, 34, 22), 6))


def test_a_series_that_was_left_out_because_it_is_damaged_is_said_and_one_that_is_merely_no_use_is_not():
    of = replace(study(), left_out=(LeftAside("series 5 (171 images)", "a slice is missing", "Export it again.", damaged=True),
                                    LeftAside("series 1", "a localizer")))
    flag, = check(of, segmented(of))
    assert (flag.code, flag.severity) == ("damaged_series", "warning")
    assert flag.text == "Not used because it is damaged: series 5 (171 images): a slice is missing. Export it again."


def test_sequences_with_which_the_network_was_measured_to_do_badly_are_said():
    card = SimpleNamespace(roles=ROLES, metrics={"dice_by_sequences": {"t1": {"WT": 0.41}, "t1 + t1ce + t2 + flair": {"WT": 0.86}}})
    of = study(("t1",))
    flag, = (flag for flag in check(of, segmented(of), card) if flag.code == "weak_sequences")
    assert flag.severity == "warning"
    assert "From T1 alone" in flag.text
    assert "0.41" in flag.text
    assert "0.86" in flag.text
    assert "weak_sequences" not in [flag.code for flag in check(study(), segmented(study()), card)]
    assert "weak_sequences" not in [flag.code for flag in check(study(("t2",)), segmented(study(("t2",))), card)]  # not measured: nothing is said


def test_a_network_that_does_badly_with_all_its_sequences_is_not_told_to_take_more():
    card = SimpleNamespace(roles=ROLES, metrics={"dice_by_sequences": {"t1 + t1ce + t2 + flair": {"WT": 0.71}}})
    of = study()
    flag, = check(of, segmented(of), card)
    assert flag.code == "weak_sequences"
    assert flag.text == ("This network finds the whole tumour badly even with all its sequences (Dice 0.71 on average in its validation): do not "
                         "rely on these volumes, or take another network.")


def test_oedema_without_a_core_is_questioned_where_contrast_was_given():
    def flags(core=0.0, roles=ROLES, tumour=TUMOUR):
        of = study(roles)
        labels = np.where(tumour, ED, 0).astype(np.uint8)
        labels[tuple(np.argwhere(tumour)[:round(core / 0.027)].T)] = NCR
        return {flag.code: flag for flag in check(of, replace(segmented(of), labels=of.reference.with_voxels(labels)))}

    flag = flags()["no_core"]
    assert flag.severity == "warning"
    assert "25.0 ml" in flag.text and "was missed" in flag.text and "another disease" in flag.text
    assert "no_core" in flags(core=0.081)
    assert "no_core" not in flags(core=0.135)
    assert "no_core" not in flags(tumour=ball((20, 34, 28), 2))           # 0.9 ml
    assert "no_core" not in flags(roles=("t1", "t2", "flair"))            # its core is a guess, and that is said


def test_measurements_that_are_known_are_not_made_again(monkeypatch):
    of = study()
    result = segmented(of)
    known = measure(result)
    monkeypatch.setattr("braintumorseg.quality.measure", lambda _: pytest.fail("measured twice"))
    assert check(of, result, None, known) == ()
    many = Measurements(known.label_ml, known.region_ml, known.lesions * 11)
    assert [flag.code for flag in check(of, result, None, many)] == ["scattered"]


def test_in_a_whole_head_the_brain_that_was_found_decides_where_it_ends():
    slab = BRAIN.copy()
    slab[:, :, 36:] = False
    assert "touches_edge" in codes(study(), slab & ball((28, 34, 35), 6), brain=found_brain(slab))


def test_a_brain_that_is_too_small_or_looks_different_in_one_sequence_is_doubtful():
    assert "doubtful_brain" not in codes(study(), brain=found_brain(t1ce=0.99, t2=0.93))
    half = BRAIN & ball(CENTRE, RADII * 0.7)
    assert "doubtful_brain" in codes(study(), brain=found_brain(half))
    flag, = (flag for flag in check(study(), replace(segmented(study()), brain=found_brain(t1ce=0.99, flair=0.8)))
             if flag.code == "doubtful_brain")
    assert "FLAIR" in flag.text
    assert "T1ce" not in flag.text


def test_more_than_a_brain_shown_by_images_that_were_taken_to_show_it_alone_is_doubtful_unless_the_network_reads_heads():
    wide = ball(CENTRE, RADII * 1.25)
    of = study(**{role: image(n, wide, TUMOUR if role == "t1ce" else None) for n, role in enumerate(ROLES)})
    flag, = check(of, segmented(of))
    assert flag.code == "doubtful_brain"
    assert "leave out --stripped" in flag.text
    assert f"{np.count_nonzero(wide) * 0.027:.0f} ml" in flag.text
    card = SimpleNamespace(roles=ROLES, metrics={}, brain_only=False)
    assert check(of, segmented(of), card) == ()


def test_an_implausibly_large_tumour_is_questioned():
    assert "large" in codes(study(), ball(CENTRE, RADII * 0.8))
    assert "large" not in codes(study(), ball(CENTRE, RADII * 0.6))


def test_many_islands_are_questioned_and_specks_are_not_counted():
    islands, specks = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    islands[16:40:4, 24:32:4, 26:28] = True  # 12 of 0.054 ml
    specks[16:40:4, 24:32:4, 26] = True      # 12 of 0.027 ml
    assert codes(study(), islands) == ["scattered"]
    assert codes(study(), specks) == []


def test_thick_slices_are_named_with_their_sequence():
    of = study()
    thick = Volume(of.volumes["t2"].voxels[:, :, ::2], AFFINE @ np.diag([1, 1, 2, 1]))
    of = study(t2=thick)
    flag, = check(of, segmented(of))
    assert (flag.code, flag.severity) == ("coarse_slices", "info")
    assert "(T2 6.0 mm)" in flag.text


def test_a_slab_of_brain_is_said_to_be_a_part():
    of = Study({role: Volume(volume.voxels[:, :, 20:40], AFFINE) for role, volume in study().volumes.items()})
    flag, = check(of, segmented(of, TUMOUR[:, :, 20:40]))
    assert flag.code == "small_field_of_view"
    assert "60 mm from top to bottom" in flag.text


def test_a_brain_that_was_seen_in_pieces_is_said_with_their_number():
    of = study()
    result = segmented(of)
    flag, = check(of, replace(result, provenance=replace(result.provenance, passes=8)))
    assert (flag.code, flag.severity) == ("in_pieces", "warning")
    assert "8 pieces" in flag.text


def test_a_tumour_that_changes_with_the_sequence_withheld_is_said_to_be_unsure():
    of = study()
    result = segmented(of)
    doubtful, sure = (replace(result, provenance=replace(result.provenance, looks=5, expected_dice={"WT": dice})) for dice in (0.69, 0.9))
    flag, = check(of, doubtful)
    assert (flag.code, flag.severity) == ("unsure", "warning")
    assert "expected Dice of the whole tumour 0.69" in flag.text
    assert check(of, sure) == ()


def test_tumour_outside_one_sequence_is_said_with_its_share():
    short = BRAIN.copy()
    short[:, :, 28:] = False
    of = study(t1=image(0, short))
    flag, = check(of, segmented(of))
    assert flag.code == "outside_sequence"
    assert flag.text.startswith("T1 does not show 5")  # the upper half and the middle of the ball


def test_a_sequence_that_has_moved_is_looked_up_where_it_has_moved_to():
    shift = np.eye(4)
    shift[2, 3] = 60.0
    away = Volume(image(3).voxels, shift @ AFFINE)
    assert codes(study(flair=away)) == ["outside_sequence"]
    assert codes(study(flair=away), moved={"flair": shift}) == []


def test_a_doubtful_alignment_is_told_with_its_reason():
    of = study()
    result = segmented(of, TUMOUR)
    made = replace(result.provenance, alignment={"t1": "headers agree: within 0.2 mm", "flair": "not sure: too few slices"}, doubtful=("flair",))
    flags = check(of, replace(result, provenance=made))
    assert [flag.code for flag in flags] == ["doubtful_alignment"]
    assert "FLAIR" in flags[0].text
    assert "too few slices" in flags[0].text


def test_the_last_layers_of_a_brain_that_the_image_just_cuts_off_are_an_edge_though_they_taper():
    back = CENTRE[1] + RADII[1]
    assert BRAIN[:, back - 2].sum() < 0.15 * BRAIN[:, CENTRE[1]].sum()
    of = Study({role: Volume(volume.voxels[:, :back], AFFINE) for role, volume in study().volumes.items()})
    assert codes(of, (BRAIN & ball((28, back, 26), 6))[:, :back]) == ["touches_edge"]


def test_t1ce_that_is_t1_again_is_questioned_and_one_enhancing_tumour_is_enough_to_believe_it():
    t1 = image(0)
    noisy = t1.with_voxels(np.where(BRAIN, t1.voxels * 3 + np.random.default_rng(9).integers(-4, 5, SHAPE), 0))
    assert codes(study(t1ce=noisy)) == ["no_contrast"]
    assert codes(study(t1ce=noisy.with_voxels(noisy.voxels + 160 * ball((20, 34, 28), 3.6)))) == []


def test_a_flag_of_an_unknown_severity_is_refused():
    with pytest.raises(ValueError, match="warning or info"):
        Flag("x", "fatal", "x")


def test_experts_outlines_of_real_patients_raise_only_what_is_true(data_folder):
    # 01660's T1ce is cut flat at the top, through its oedema.
    for name, wanted in (("BraTS-GLI-00000-000", []), ("BraTS2021_01660", ["touches_edge"])):
        case = data_folder / "cases" / name
        of = Study({role: read_volume(case / f"{role}.nii.gz") for role in ROLES})
        labels = read_volume(case / "seg.nii.gz").voxels
        assert codes(of, labels > 0) == wanted
        no_contrast = replace(of, volumes={**of.volumes, "t1ce": of.volumes["t1"]})
        assert "no_contrast" in codes(no_contrast, labels == ET)


def placed(affine, voxels=None) -> Study:
    """The made-up study with another affine."""
    return Study({role: Volume(volume.voxels if voxels is None else voxels(volume.voxels), affine) for role, volume in study().volumes.items()})


TO_CORONAL = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("scale, code, words", [(0.1, "wrong_spacing", "17 mm from front to back"),
                                                (0.6, "small_brain", "103 mm from front to back")])
def test_a_whole_brain_that_is_too_small_is_not_called_a_part_of_one(scale, code, words):
    of = placed(np.diag([scale, scale, scale, 1.0]) @ AFFINE)
    flags = {flag.code: flag for flag in check(of, segmented(of))}
    assert {"small_field_of_view", "wrong_spacing", "small_brain"} & set(flags) == {code}
    assert words in flags[code].text
    assert "spacing in the header" in flags[code].text


def test_a_brain_that_its_header_turns_by_a_right_angle_is_said_and_a_tilted_one_is_not():
    assert "turned_image" not in codes(study())
    flag, = (flag for flag in check(placed(TO_CORONAL @ AFFINE), segmented(placed(TO_CORONAL @ AFFINE))) if flag.code == "turned_image")
    assert flag.severity == "warning"
    assert "mm from top to bottom and" in flag.text
    to_sagittal = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert "turned_image" in codes(placed(to_sagittal @ AFFINE))
    half = np.array([[1, 0, 0, 0], [0, np.sqrt(0.5), np.sqrt(0.5), 0], [0, -np.sqrt(0.5), np.sqrt(0.5), 0], [0, 0, 0, 1]])
    assert "turned_image" not in codes(placed(half @ AFFINE @ np.diag([1, 1, 1.6, 1])))   # its axes are nobody's back or top


def test_a_slab_and_a_brain_with_its_spinal_cord_are_not_taken_for_turned():
    of = placed(AFFINE, lambda voxels: np.where(np.arange(SHAPE[1])[:, None] < 40, voxels, 0))
    assert "turned_image" not in codes(of)
    cord = BRAIN.copy()
    cord[25:31, 31:37, 0:8] = True
    longer = np.concatenate([np.repeat(cord[:, :, :1], 22, axis=2), cord], axis=2)
    high = np.array([AFFINE[0], AFFINE[1], [0, 0, 3, -78 - 66], AFFINE[3]])
    of = Study({"t1": Volume(np.where(longer, np.random.default_rng(0).integers(80, 120, longer.shape), 0), high)})
    tumour = np.concatenate([np.zeros((*SHAPE[:2], 22), bool), TUMOUR], axis=2)
    assert codes(of, tumour) == ["missing_sequence"] * 3


def test_a_file_that_does_not_say_how_the_patient_lay_is_named():
    of = study()
    assumed = replace(of, volumes={**of.volumes, "t2": Volume(of.volumes["t2"].voxels, AFFINE, assumed=True)})
    flag, = check(assumed, segmented(assumed))
    assert (flag.code, flag.severity) == ("assumed_orientation", "warning")
    assert flag.text.startswith("No header says how the patient lay in T2 (")
    assert "convert from DICOM again" in flag.text


OTHERS_NAME = [("t1", "t1ce"), ("t2", "flair"), ("t1", "t2"), ("t1ce", "flair")]


@pytest.mark.parametrize("pair", OTHERS_NAME)
def test_sequences_that_have_each_others_names_are_said_and_no_missing_core_is_explained_by_the_tumour(phantom, pair):
    one, other = pair
    right = phantom.registered
    oedema = right.reference.with_voxels(np.where(phantom.truth.voxels, ED, 0).astype(np.uint8))
    found = {flag.code: flag for flag in check(right, Segmentation(oedema, (), segmented(right, phantom.truth.voxels != 0).provenance))}
    assert "exchanged_sequences" not in found and "no_core" in found
    wrong = Study({**right.volumes, one: right.volumes[other], other: right.volumes[one]})
    flags = {flag.code: flag for flag in check(wrong, Segmentation(oedema, (), segmented(wrong, phantom.truth.voxels != 0).provenance))}
    assert "no_core" not in flags
    assert flags["exchanged_sequences"].severity == "warning"
    assert f"{TITLES[one]} looks like a {TITLES[other]}" in flags["exchanged_sequences"].text
    assert "segment again" in flags["exchanged_sequences"].text


def test_a_sequence_that_may_lie_elsewhere_and_one_below_its_background_are_not_compared(phantom):
    right = phantom.registered
    wrong = Study({**right.volumes, "t2": right.volumes["flair"], "flair": right.volumes["t2"]})
    result = segmented(wrong, phantom.truth.voxels != 0)
    doubtful = replace(result, provenance=replace(result.provenance, doubtful=("flair",), alignment={"flair": "doubtful"}))
    assert "exchanged_sequences" not in [flag.code for flag in check(wrong, doubtful)]
    below = replace(wrong, volumes={role: volume.with_voxels(-volume.voxels) for role, volume in wrong.volumes.items()})
    assert "exchanged_sequences" not in [flag.code for flag in check(below, result)]


def test_exchanged_names_are_told_of_real_patients_and_right_ones_never(data_folder):
    for name in ("BraTS2021_01658", "Brats17_TCIA_105_1"):
        case = data_folder / "cases" / name
        of = Study({role: read_volume(case / f"{role}.nii.gz") for role in ROLES})
        tumour = read_volume(case / "seg.nii.gz").voxels > 0
        assert "exchanged_sequences" not in codes(of, tumour)
        for one, other in (("t1", "t1ce"), ("t2", "flair")):
            wrong = Study({**of.volumes, one: of.volumes[other], other: of.volumes[one]})
            assert "exchanged_sequences" in codes(wrong, tumour), (name, one, other)


def test_one_image_under_two_names_is_said_so_and_not_called_exchanged(phantom):
    right = phantom.registered
    wrong = Study({**right.volumes, "flair": right.volumes["t1"]})
    flags = {flag.code: flag for flag in check(wrong, segmented(wrong, phantom.truth.voxels != 0))}
    assert "exchanged_sequences" not in flags
    assert flags["given_twice"].text.startswith("T1 and FLAIR show the same picture")
    assert "given_twice" not in [flag.code for flag in check(right, segmented(right, phantom.truth.voxels != 0))]
