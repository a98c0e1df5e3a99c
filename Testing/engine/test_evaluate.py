"""Pairs and folders of label maps: what is scored, how cases find each other, what is refused and how."""

import shutil
import time
import unicodedata

import nibabel
import numpy as np
import pytest
import surface_distance
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance

from braintumorseg.errors import BadImage, GridMismatch, InputError, MissingFile, UnknownLabels
from braintumorseg.evaluate import STRUCTURES, evaluate, evaluate_folders, evaluate_pair
from braintumorseg.io.dicom_seg import write_dicom_seg
from braintumorseg.io.nifti import write_nifti
from braintumorseg.io.readers import read_volume
from braintumorseg.masks import bounding_box
from braintumorseg.volume import Volume
from seg_toys import ABOUT, TABLE, mr_series, tumour

LPS = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])


def labels(*values: int, shape=(12, 10, 8)) -> np.ndarray:
    """A row of voxels along I from (2, 4, 4) that carry `values`, zero elsewhere."""
    voxels = np.zeros(shape, np.uint8)
    voxels[2:2 + len(values), 4, 4] = values
    return voxels


def write(path, voxels, affine=LPS):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def test_every_region_and_label_is_scored_by_its_own_voxels():
    truth, found = Volume(labels(1, 2, 3, 3), LPS), Volume(labels(1, 1, 3, 0), LPS)
    scores = evaluate_pair(truth, found).scores
    assert list(scores) == list(STRUCTURES) == ["WT", "TC", "ET", "NCR", "ED"]
    assert {name: s.dice for name, s in scores.items()} == pytest.approx(
        {"WT": 6 / 7, "TC": 4 / 6, "ET": 2 / 3, "NCR": 2 / 3, "ED": 0.0})
    assert (scores["WT"].precision, scores["WT"].recall, scores["WT"].iou) == (1.0, 0.75, 0.75)
    assert scores["WT"].truth_ml == pytest.approx(0.004)
    assert scores["WT"].volume_error_ml == pytest.approx(-0.001)
    assert [s.empty for s in scores.values()] == ["", "", "", "", "found"]
    assert scores["ED"].hd95_mm == np.inf


def test_two_empty_maps_agree_perfectly():
    empty = Volume(labels(), LPS)
    for scores in evaluate_pair(empty, empty).scores.values():
        assert (scores.dice, scores.hd95_mm, scores.nsd_1mm, scores.lesions.dice, scores.empty) == (1.0, 0.0, 1.0, 1.0, "both")


def test_each_side_is_read_in_its_own_convention():
    old, new = Volume(labels(1, 2, 4), LPS), Volume(labels(1, 2, 3), LPS)
    assert evaluate_pair(old, new, truth_labels="brats2021").scores["ET"].dice == 1.0
    assert evaluate_pair(new, old, found_labels="brats2021").scores["ET"].dice == 1.0
    with pytest.raises(UnknownLabels, match="--labels brats2021"):
        evaluate_pair(old, new)
    with pytest.raises(UnknownLabels, match="--found-labels brats2021"):
        evaluate_pair(new, old)


def test_volumes_follow_the_voxel_size():
    thick = np.diag([0.5, 0.5, 6.0, 1.0])
    scores = evaluate_pair(Volume(labels(2, 2), thick), Volume(labels(2, 2, 2, 2), thick)).scores["WT"]
    assert (scores.truth_ml, scores.found_ml, scores.volume_error_ml) == pytest.approx((0.003, 0.006, 0.003))


def test_the_same_place_stored_with_other_axes_is_compared_voxel_by_voxel():
    truth = Volume(labels(1, 2, 3, 3), LPS)
    assert truth.canonical().orientation != truth.orientation
    assert evaluate_pair(truth, truth.canonical()).scores["WT"].dice == 1.0
    assert evaluate_pair(truth.canonical(), truth).scores["ET"].dice == 1.0


@pytest.mark.parametrize(("affine", "shape", "said"), [
    (LPS, (12, 10, 9), "12 x 10 x 9"),
    (np.diag([1.0, 1, 2, 1]), (12, 10, 8), "2.00 mm"),
    (LPS + np.array([[0, 0, 0, 0.3], [0] * 4, [0] * 4, [0] * 4]), (12, 10, 8), "0.30 mm apart"),
])
def test_different_grids_are_refused_with_their_difference(affine, shape, said):
    with pytest.raises(GridMismatch, match=said) as caught:
        evaluate_pair(Volume(labels(1), LPS), Volume(labels(1, shape=shape), affine))
    assert "grid" in caught.value.fix


def test_an_affine_that_differs_by_rounding_is_the_same_grid():
    moved = LPS.copy()
    moved[0, 3] += 1e-3
    assert evaluate_pair(Volume(labels(1), LPS), Volume(labels(1), moved)).scores["TC"].dice == 1.0


@pytest.mark.parametrize("name", ["A.nii.gz", "A.nii", "A_seg.nii.gz", "A-seg.nii.gz", "A_segmentation.nii.gz", "A/seg.nii.gz",
                                  "A/segmentation.nii.gz", "A/A_seg.nii.gz", "A/A-seg.nii.gz", "A/Seg.NII.GZ"])
def test_a_case_is_found_under_every_usual_name(tmp_path, name):
    write(tmp_path / "truth" / "A" / "seg.nii.gz", labels(1, 2))
    write(tmp_path / "truth" / "A" / "t1.nii.gz", labels(1, 2))
    write(tmp_path / "found" / name, labels(1, 2))
    (result,) = evaluate_folders(tmp_path / "truth", tmp_path / "found").results
    assert (result.case, result.scores["WT"].dice) == ("A", 1.0)


@pytest.mark.parametrize("name", ["{}_seg.nii.gz", "{}/seg.nii.gz"])
def test_a_name_that_a_mac_spelt_in_its_way_is_the_same_case(tmp_path, name):
    write(tmp_path / "truth" / name.format(unicodedata.normalize("NFD", "Größe")), labels(1, 2))
    write(tmp_path / "found" / name.format(unicodedata.normalize("NFC", "Größe")), labels(1, 2))
    (result,) = evaluate_folders(tmp_path / "truth", tmp_path / "found").results
    assert result.case == unicodedata.normalize("NFC", "Größe")


def test_cases_without_a_partner_and_pairs_that_cannot_be_compared_are_listed(tmp_path):
    for case in ("A", "B", "C"):
        write(tmp_path / "truth" / f"{case}.nii.gz", labels(1, 2))
    write(tmp_path / "found" / "A_seg.nii.gz", labels(1, 0))
    write(tmp_path / "found" / "B_seg.nii.gz", labels(1, shape=(5, 5, 5)))
    write(tmp_path / "found" / "D_seg.nii.gz", labels(1))
    write(tmp_path / "found" / "._A_seg.nii.gz", labels(1))
    done = []
    evaluation = evaluate_folders(tmp_path / "truth", tmp_path / "found", progress=done.append)
    assert [result.case for result in evaluation.results] == ["A"]
    assert (evaluation.truth_only, evaluation.found_only) == (("C",), ("D",))
    ((case, why),) = evaluation.refused
    assert case == "B" and "5 x 5 x 5" in why
    assert done == [0.0, 0.5, 1.0]


def test_folders_in_which_nothing_matches_are_refused_with_what_they_hold(tmp_path):
    write(tmp_path / "truth" / "A.nii.gz", labels(1))
    write(tmp_path / "found" / "B.nii.gz", labels(1))
    with pytest.raises(InputError, match=r"truth has A, found has B.*CASE_seg\.nii\.gz"):
        evaluate_folders(tmp_path / "truth", tmp_path / "found")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no label map at all"):
        evaluate_folders(tmp_path / "truth", tmp_path / "none")


def test_when_no_pair_can_be_compared_the_first_reason_is_raised(tmp_path):
    write(tmp_path / "truth" / "A.nii.gz", labels(1, 4))
    write(tmp_path / "found" / "A.nii.gz", labels(1, 3))
    with pytest.raises(UnknownLabels, match=r"None of the 1 pairs.*A: .*--labels brats2021"):
        evaluate_folders(tmp_path / "truth", tmp_path / "found")


def test_two_files_for_one_case_are_refused(tmp_path):
    write(tmp_path / "truth" / "A.nii.gz", labels(1))
    write(tmp_path / "found" / "A.nii.gz", labels(1))
    write(tmp_path / "found" / "A" / "segmentation.nii.gz", labels(1))
    with pytest.raises(InputError, match=r"segmentation of A: A\.nii\.gz, segmentation\.nii\.gz"):
        evaluate_folders(tmp_path / "truth", tmp_path / "found")


def test_evaluate_takes_files_case_folders_and_folders_of_cases(tmp_path):
    truth = write(tmp_path / "truth" / "A" / "seg.nii.gz", labels(1, 2))
    found = write(tmp_path / "out of größe" / "segmentation.nii.gz", labels(1, 2))
    for pair in ((truth, found), (truth.parent, found.parent), (truth.parent, found)):
        (result,) = evaluate(*pair).results
        assert (result.case, result.scores["WT"].dice) == ("A", 1.0)
    assert evaluate(tmp_path / "truth", tmp_path / "truth").results[0].case == "A"


def test_evaluate_refuses_what_is_missing_or_does_not_go_together(tmp_path):
    truth = write(tmp_path / "truth" / "A" / "seg.nii.gz", labels(1, 2))
    with pytest.raises(MissingFile, match="nowhere"):
        evaluate(truth, tmp_path / "nowhere")
    with pytest.raises(MissingFile, match="nowhere"):
        evaluate_folders(tmp_path / "nowhere", tmp_path / "truth")
    with pytest.raises(InputError, match="two files or two folders"):
        evaluate(truth, tmp_path / "truth")


def test_a_full_size_pair_takes_less_than_six_seconds_of_one_core():
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (240, 240, 155)), indexing="ij"))
    ripple = np.sin(grid[0] / 3) * np.sin(grid[1] / 4) * np.sin(grid[2] / 2) * 5

    def tumour(centre):
        distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))) + ripple
        return Volume(np.select([distance < 12, distance < 22, distance < 38], [1, 3, 2]).astype(np.uint8), LPS)

    truth, found = tumour((90, 120, 80)), tumour((93, 118, 78))
    start = time.process_time()
    scores = evaluate_pair(truth, found).scores
    assert time.process_time() - start < 6
    assert 0.7 < scores["WT"].dice < 0.97 and scores["WT"].truth_ml > 150


def test_real_predictions_score_as_by_other_libraries(data_folder, tmp_path):
    folder = data_folder / "metrics-examples" / "DeepBrainSeg"
    if not folder.is_dir():
        pytest.skip(f"real predictions are absent: {folder}")
    case = "Brats18_TCIA10_639_1"
    shutil.copy(folder / f"{case}_pred_it0.nii.gz", tmp_path / f"{case}.nii.gz")
    evaluation = evaluate(data_folder / "cases", tmp_path)
    assert len(evaluation.truth_only) == 23
    (result,) = evaluation.results
    true, found = (np.asanyarray(nibabel.load(path).dataobj) for path in (
        data_folder / "cases" / case / "seg.nii.gz", tmp_path / f"{case}.nii.gz"))
    box = bounding_box(true | found, margin=1)  # the other libraries are slow on whole volumes
    for structure in ("TC", "ET", "NCR"):
        a, b = (np.isin(voxels[box], STRUCTURES[structure]) for voxels in (true, found))
        scores = result.scores[structure]
        between = surface_distance.compute_surface_distances(a, b, (1, 1, 1))
        assert scores.dice == pytest.approx(surface_distance.compute_dice_coefficient(a, b))
        assert scores.hd95_mm == pytest.approx(surface_distance.compute_robust_hausdorff(between, 95))
        assert scores.nsd_1mm == pytest.approx(surface_distance.compute_surface_dice_at_tolerance(between, 1))
        # MONAI counts the voxels of a surface, not its area: scattered voxels weigh less there, so HD95 differs on noisy masks.
        pair = [torch.from_numpy(mask)[None, None].float() for mask in (b, a)]
        assert scores.dice == pytest.approx(compute_dice(*pair).item())
        distance = compute_hausdorff_distance(*pair, include_background=True, percentile=95).item()
        assert scores.hd95_mm == pytest.approx(distance, abs=1.5)


class TestDicomSeg:
    """SEGs as truth or found: their labels are told by codes, and their grid holds only some slices."""

    @pytest.fixture
    def files(self, tmp_path):
        """Name -> path: a label map, the same as SEG, and a SEG of one slice less."""
        source = mr_series()
        labels = tumour(source)
        write_nifti(labels, tmp_path / "map.nii.gz")
        write_dicom_seg(labels, source, TABLE, tmp_path / "same.dcm", **ABOUT)
        less = labels.voxels.copy()
        less[:, :, 3] = 0
        write_dicom_seg(labels.with_voxels(less), source, TABLE, tmp_path / "less.dcm", **ABOUT)
        more = labels.voxels.copy()
        more[:, :, 6] = 2
        write_dicom_seg(labels.with_voxels(more), source, TABLE, tmp_path / "more.dcm", **ABOUT)
        return {path.stem.split(".")[0]: path for path in tmp_path.iterdir()}

    @pytest.mark.parametrize(("truth", "found"), [("map", "same"), ("same", "map"), ("same", "same")])
    def test_the_same_labels_agree_whatever_holds_them(self, files, truth, found):
        result, = evaluate(files[truth], files[found]).results
        assert {name: scores.dice for name, scores in result.scores.items()} == dict.fromkeys(("WT", "TC", "ET", "NCR", "ED"), 1.0)

    def test_segs_of_different_slices_are_compared_on_both(self, files):
        # 7 voxels; less has 2 of them (ET of slice 4), more has 30 of ED besides the 7
        result, = evaluate(files["same"], files["less"]).results
        assert result.scores["WT"].dice == pytest.approx(2 * 2 / (7 + 2))
        result, = evaluate(files["less"], files["more"]).results
        assert result.scores["WT"].dice == pytest.approx(2 * 2 / (2 + 37))

    def test_no_convention_applies_to_a_seg(self, files):
        result, = evaluate(files["same"], files["map"], truth_labels="brats2021").results
        assert result.scores["ET"].dice == 1.0

    def test_folders_prefer_the_label_map_and_take_a_seg_where_there_is_none(self, files, tmp_path):
        for folder in ("truth", "found"):
            (tmp_path / folder / "case").mkdir(parents=True)
        (tmp_path / "truth" / "case" / "segmentation.nii.gz").write_bytes(files["map"].read_bytes())
        (tmp_path / "truth" / "case" / "segmentation.dcm").write_bytes(b"never looked at")
        (tmp_path / "found" / "case" / "segmentation.dcm").write_bytes(files["less"].read_bytes())
        result, = evaluate(tmp_path / "truth", tmp_path / "found").results
        assert (result.case, result.scores["WT"].dice) == ("case", pytest.approx(4 / 9))

    def test_a_seg_that_lies_elsewhere_or_holds_other_things_is_refused(self, files, data_folder, tmp_path):
        other = data_folder / "dicom" / "SEG_dcmqi" / "liver.dcm"
        with pytest.raises(BadImage, match="segment 1 is Liver"):
            evaluate(files["map"], other)
        shifted = read_volume(files["map"])
        write_nifti(Volume(shifted.voxels, np.diag([1, 1, 1.1, 1]) @ shifted.affine), tmp_path / "elsewhere.nii.gz")
        with pytest.raises(GridMismatch, match="do not share voxels"):
            evaluate(tmp_path / "elsewhere.nii.gz", files["same"])
