"""Every reason for which a case is refused or warned of, on tiny folders."""

import nibabel
import numpy as np
import pytest

from braintumorseg.errors import BadImage, GridMismatch, InputError, MissingFile, NotAnImage, UnknownLabels
from braintumorseg.study import ROLES
from braintumorseg.volume import Volume
from braintumorseg_training.case_checks import ODD_LABELS, check_case
from braintumorseg_training.layouts import find_cases
from toy_datasets import BRATS2023, toy_case, write_brats, write_msd, write_nnunet, write_plain


def one(folder):
    (source,) = find_cases(folder)[1]
    return source


def check(folder, convention="brats2023", **how):
    return check_case(one(folder), convention, **how)


def relabelled(case, values):
    return case | {"seg": case["seg"].with_voxels(np.array(values, np.uint8)[case["seg"].voxels])}


def with_voxels(case, role, change):
    voxels = case[role].voxels.astype(np.float32)
    change(voxels)
    return case | {role: case[role].with_voxels(voxels)}


def moved(volume, mm):
    affine = volume.affine.copy()
    affine[0, 3] += mm
    return Volume(volume.voxels, affine)


def test_every_layout_leads_to_the_same_images_and_labels(tmp_path):
    case = toy_case()
    write_plain(tmp_path / "plain" / "p1", case)
    write_brats(tmp_path / "brats" / "BraTS2021_00000", case)
    write_brats(tmp_path / "brats23" / "BraTS-GLI-00000-000", case, BRATS2023, et=3)
    write_msd(tmp_path / "msd", {"BRATS_001": case})
    write_nnunet(tmp_path / "nnunet", {"p1": case})
    for folder, convention in (("plain", "brats2023"), ("brats", "brats2021"), ("brats23", "brats2023"), ("msd", ""), ("nnunet", "")):
        checked = check(tmp_path / folder, convention)
        assert checked.warnings == (), folder
        assert checked.study.roles == ROLES
        for role in ROLES:
            assert np.array_equal(checked.study.volumes[role].voxels, case[role].voxels), (folder, role)
        assert np.array_equal(checked.truth.voxels, case["seg"].voxels), folder


def test_a_convention_is_declared_once_and_never_guessed(tmp_path):
    case = toy_case()
    plain = one(write_plain(tmp_path / "p1", case))
    with pytest.raises(InputError, match=r"not declared.*--labels.*--table"):
        check_case(plain)
    source = one(write_msd(tmp_path / "msd", {"BRATS_001": case}))
    assert check_case(source, "msd").warnings == ()
    with pytest.raises(InputError, match=r"declared as brats2023, and dataset\.json says 1 ED, 2 NCR, 3 ET"):
        check_case(source, "brats2023")


@pytest.mark.parametrize("et, convention, words", [
    (3, "brats2021", "values 3, which brats2021 does not know .*brats2023 or brats2024 or msd, whichever its makers say"),
    (4, "brats2023", "values 4, which brats2023 does not know .*brats2021 or brats2024"),
    (4, "msd", "values 4, which msd does not know"),
    (7, "brats2024", "values 7, which brats2024 does not know .*not an image"),
])
def test_labels_outside_the_declared_convention_are_refused(tmp_path, et, convention, words):
    with pytest.raises(UnknownLabels, match=words):
        check(write_plain(tmp_path / "p1", toy_case(), et=et), convention)


def test_labels_that_fit_by_value_but_do_not_look_so_are_warned_of(tmp_path):
    write_plain(tmp_path / "p1", toy_case())
    assert check(tmp_path / "p1").warnings == ()
    warnings = check(tmp_path / "p1", "msd").warnings
    assert len(warnings) == 1
    assert "oedema lies within the core" in warnings[0]
    assert ODD_LABELS in warnings[0]
    dark = relabelled(toy_case(), [0, 3, 2, 1])
    assert "enhancing is not the brightest" in check(write_plain(tmp_path / "p2", dark)).warnings[-1]


def test_a_resection_cavity_is_background_and_said(tmp_path):
    seg = toy_case()["seg"].voxels.copy()
    seg[0:10, 20:22, 18:20] = 4
    checked = check(write_plain(tmp_path / "p1", toy_case() | {"seg": toy_case()["seg"].with_voxels(seg)}), "brats2024")
    assert "0.0 ml of resection cavity" in checked.warnings[0]
    assert checked.truth.voxels.max() == 3
    assert not checked.truth.voxels[5, 20, 18]


def test_a_missing_sequence_is_named_and_taken_only_when_that_is_wanted(tmp_path):
    case = toy_case()
    del case["flair"], case["t2"]
    folder = write_plain(tmp_path / "p1", case)
    with pytest.raises(MissingFile, match=r"lacks t2 and flair\. .*--missing-ok"):
        check(folder)
    checked = check(folder, missing_ok=True)
    assert checked.study.roles == ("t1", "t1ce")
    assert "lacks t2 and flair" in checked.warnings[0]


def test_a_case_without_labels_or_without_images_is_refused(tmp_path):
    case = toy_case()
    with pytest.raises(MissingFile, match="none of the four"):
        check(write_plain(tmp_path / "p1", {"seg": case["seg"]}), missing_ok=True)
    del case["seg"]
    with pytest.raises(MissingFile, match="no label file"):
        check(write_plain(tmp_path / "p2", case))


def test_grids_that_differ_are_refused_with_both_named(tmp_path):
    case = toy_case()
    with pytest.raises(GridMismatch, match=r"t2 lies 3.00 mm away from t1ce"):
        check(write_plain(tmp_path / "p1", case | {"t2": moved(case["t2"], 3)}))
    with pytest.raises(GridMismatch, match=r"flair is 36 x 40 x 40 voxels.* and t1ce is 40 x 44 x 36"):
        check(write_plain(tmp_path / "p2", case | {"flair": toy_case(shape=(36, 40, 40))["flair"]}))
    with pytest.raises(GridMismatch, match=r"seg\.nii\.gz lies 1.00 mm away"):
        check(write_plain(tmp_path / "p3", case | {"seg": moved(case["seg"], 1)}))


def test_labels_stored_in_another_orientation_are_turned(tmp_path):
    case = toy_case()
    checked = check(write_plain(tmp_path / "p1", case | {"seg": case["seg"].canonical()}))
    assert checked.warnings == ()
    assert np.array_equal(checked.truth.canonical().voxels, case["seg"].canonical().voxels)


def test_a_segmentation_without_tumour_is_a_warning(tmp_path):
    assert check(write_plain(tmp_path / "p1", relabelled(toy_case(), [0, 0, 0, 0]))).warnings == ("no tumour in it",)


def test_labels_beside_the_brain_are_those_of_another_image(tmp_path):
    case = toy_case()
    seg = np.zeros(case["seg"].shape, np.uint8)
    seg[:3, :3, :10] = 2
    with pytest.raises(GridMismatch, match="100% of its tumour lies where all images are empty"):
        check(write_plain(tmp_path / "p1", case | {"seg": case["seg"].with_voxels(seg)}))
    seg[15:22, 15:22, 15:22] = 2
    checked = check(write_plain(tmp_path / "p2", case | {"seg": case["seg"].with_voxels(seg)}))
    assert "21% of its tumour lies where all images are empty" in checked.warnings[0]


def test_intensities_that_are_none_are_refused(tmp_path):
    def put_nan(voxels):
        voxels[20, 20, 20] = np.nan

    for name, role, change, words in (("nan", "t1", put_nan, "t1 has 1 voxels that are NaN"),
                                      ("flat", "t2", lambda voxels: voxels.fill(5), "t2 is constant"),
                                      ("mask", "flair", lambda voxels: np.greater(voxels, 0, out=voxels), "flair holds only 2 whole numbers")):
        with pytest.raises(BadImage, match=words):
            check(write_plain(tmp_path / name, with_voxels(toy_case(), role, change)))


def test_a_whole_head_is_refused(tmp_path):
    def add_noise(voxels):
        voxels += np.random.default_rng(0).uniform(10, 60, voxels.shape)

    with pytest.raises(BadImage, match=r"t1ce does not show the brain alone.*skull"):
        check(write_plain(tmp_path / "p1", with_voxels(toy_case(), "t1ce", add_noise)))


def test_one_image_under_two_roles_is_refused(tmp_path):
    case = toy_case()
    with pytest.raises(BadImage, match="t1 and t1ce are the same image"):
        check(write_plain(tmp_path / "p1", case | {"t1ce": case["t1"]}))


def test_damaged_and_unclear_files_are_refused_by_name(tmp_path):
    folder = write_plain(tmp_path / "p1", toy_case())
    (folder / "t2.nii.gz").write_bytes((folder / "t2.nii.gz").read_bytes()[:900])
    with pytest.raises(NotAnImage, match=r"t2\.nii\.gz"):
        check(folder)
    folder = write_plain(tmp_path / "p2", toy_case())
    (folder / "t1n.nii.gz").write_bytes((folder / "t1.nii.gz").read_bytes())
    with pytest.raises(InputError, match="both be t1"):
        check(folder)


def test_decathlon_images_that_are_not_what_dataset_json_says_are_refused(tmp_path):
    folder = write_msd(tmp_path / "msd", {"BRATS_001": toy_case()})
    path = folder / "imagesTr" / "BRATS_001.nii.gz"
    image = nibabel.Nifti1Image(np.asarray(nibabel.load(path).dataobj), nibabel.load(path).affine)
    (source,) = find_cases(folder)[1]
    for voxels, words in ((np.asarray(image.dataobj)[..., :3], "holds 3 channels, and dataset.json calls number 3 t2"),
                          (np.asarray(image.dataobj)[..., 0], "has 3 dimensions")):
        nibabel.save(nibabel.Nifti1Image(voxels, image.affine), path)
        with pytest.raises(BadImage, match=words):
            check_case(source)
    nibabel.save(image, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(NotAnImage, match="BRATS_001"):
        check_case(source)
