"""Roles from file names: the conventions of public data sets, and everything that must be asked instead of guessed."""

from pathlib import Path

import pytest

from braintumorseg.errors import MissingFile, NotAnImage, UnclearRoles
from braintumorseg.roles import find_images, left_out, recognise_roles

NAMES = {
    "t1": ["t1.nii.gz", "T1.NII", "BraTS20_Training_001_t1.nii.gz", "BraTS-GLI-00000-000-t1n.nii.gz", "sub-01_T1w.nii.gz",
           "t1_brain.nii.gz", "Ax_T1_PRE.nrrd", "t1_pre_contrast.nii", "t1_no_contrast.nii", "SAG_MPRAGE.nii",
           "t1_mprage_sag_p2_iso.nii", "t1_post_op.nii", "UCSF-PDGM-0004_T1_bias.nii.gz", "Müller_α T1.mha"],
    "t1ce": ["t1ce.nii.gz", "BraTS2021_01657_t1ce.nii.gz", "BraTS-GLI-00000-000-t1c.nii.gz", "UPENN-GBM-00001_11_T1GD.nii.gz",
             "TCGA-02-0006_1996.08.23_t1Gd.nii.gz", "UCSF-PDGM-0004_T1c_bias.nii.gz", "sub-01_ce-gadolinium_T1w.nii.gz",
             "AxT1+C.nii.gz", "t1_C+.nii", "Ax_T1_POST.nrrd", "AxT1Post.nii", "t1_gd.nii", "T1 CE.nii", "t1post.nii", "T1wCE.nii",
             "MPRAGE_post.nii", "t1ce_mprage.nii", "VS-SEG-001_t1ce.nii.gz", "t1_gd_post_op.nii", "t1+c.nii.gz"],
    "t2": ["t2.nii.gz", "BraTS-GLI-00000-000-t2w.nii.gz", "sub-01_T2w.nii.gz", "T2_TSE_post_Gd.nii", "3D_T2_SPC.nii", "p_T2.mhd"],
    "flair": ["flair.nii.gz", "FLAIR.NII.GZ", "BraTS-GLI-00000-000-t2f.nii.gz", "case_fla.nii.gz", "t2_flair.nii", "t2flair.nii",
              "AxT2FLAIR.mha", "FLAIR_T2.nii", "flair_post.nii", "T2_dark-fluid.nii", "t2_spc_da-fl.nii", "Größe_α_FLAIR.nii.gz"],
}
MASKS = ["seg.nii.gz", "BraTS2021_01657_seg.nii.gz", "t1_seg.nii.gz", "t1ce_mask.nii", "brainmask_t1ce_native.nii.gz",
         "t1_brain_mask.nii.gz", "flair-label.nrrd", "ms_lesions.nii.gz", "segmentation.nii.gz", "UCSF_tumor_segmentation.nii.gz"]
OTHERS = ["ADC.nii.gz", "t2_star.nii", "DSC_t1.nii", "t1_map.nii", "t2_stir.nii", "case.nii.gz", "0001.nii"]


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in NAMES.items() for name in names])
def test_a_name_tells_its_role(role, name):
    path = Path("patient_t2_flair_t1ce_seg") / name  # a folder's name never counts
    found = recognise_roles([path])
    assert {key: one.path for key, one in found.items()} == {role: path}
    assert "patient" not in found[role].why
    assert left_out([path]) == {}


@pytest.mark.parametrize("name", MASKS + OTHERS)
def test_masks_and_other_images_are_left_out_with_a_reason(name):
    t1 = Path("x_t1.nii")
    assert list(recognise_roles([t1, Path(name)])) == ["t1"]
    reason = left_out([t1, Path(name)])
    assert list(reason) == [Path(name)]
    assert ("mask" in reason[Path(name)]) == (name in MASKS)


def test_four_names_give_four_roles_in_order():
    paths = [Path(f"BraTS-GLI-00000-000-{word}.nii.gz") for word in ("t2f", "t1c", "t2w", "t1n", "seg")]
    found = recognise_roles(paths)
    assert list(found) == ["t1", "t1ce", "t2", "flair"]
    assert [one.path.name[-10:-7] for one in found.values()] == ["t1n", "t1c", "t2w", "t2f"]


@pytest.mark.parametrize(("name", "why"), [("t1ce.nii", "file name is t1ce"), ("P1_t1ce.nii", "file name ends in _t1ce"),
                                           ("P1_t1ce_bias.nii", "file name holds t1ce"),
                                           ("T1 gd.nii", "file name ends in _t1_gd"),
                                           ("gd_t1.nii", "file name holds t1 and gd")])
def test_the_reason_says_which_words_told(name, why):
    assert recognise_roles([Path(name)])["t1ce"].why == why


def test_two_files_for_one_role_are_listed_and_the_option_named():
    with pytest.raises(UnclearRoles, match=r"2 files may be t1ce: a_t1ce\.nii, b_t1c\.nii.*--t1ce"):
        recognise_roles([Path("a_t1ce.nii"), Path("t1.nii"), Path("b_t1c.nii")])


def test_a_role_that_was_given_is_not_looked_for():
    assert list(recognise_roles([Path("a_t1ce.nii"), Path("t1.nii"), Path("b_t1c.nii")], given={"t1ce"})) == ["t1"]


@pytest.mark.parametrize("name", ["t2_in_t1_space.nii", "T1_FLAIR.nii", "T1_to_T2.nii", "t1_t1ce.nii", "t1-c.nii"])
def test_a_name_with_two_sequences_is_asked_about(name):
    with pytest.raises(UnclearRoles, match=r"names more than one sequence.*--t1"):
        recognise_roles([Path("flair.nii"), Path(name)])


def test_channel_numbers_are_never_guessed():
    with pytest.raises(UnclearRoles, match=r"channel numbers.*--t1, --t1ce, --t2, --flair"):
        recognise_roles([Path(f"BRATS_001_000{n}.nii.gz") for n in range(4)])


def test_names_that_say_nothing_are_listed():
    with pytest.raises(UnclearRoles, match=r"scan1\.nii, scan2\.nii.*--flair"):
        recognise_roles([Path("scan1.nii"), Path("scan2.nii")])


def test_a_lone_mask_is_called_one():
    with pytest.raises(UnclearRoles, match=r"t1_seg\.nii .* mask"):
        recognise_roles([Path("t1_seg.nii")])


def test_no_files_have_no_roles():
    assert recognise_roles([]) == {}
    assert left_out([]) == {}


def filled(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("x")
    return folder


def test_a_folder_stands_for_its_images_in_order(tmp_path):
    filled(tmp_path, "t2.nrrd", "t1.nii.gz", "notes.txt", "._t1.nii.gz", ".hidden.nii", "seg.nii.gz", "t1.json")
    assert [path.name for path in find_images([tmp_path])] == ["seg.nii.gz", "t1.nii.gz", "t2.nrrd"]


def test_an_only_subfolder_is_opened(tmp_path):
    filled(tmp_path / "NIfTI files", "t1.nii")
    assert [path.name for path in find_images([tmp_path])] == ["t1.nii"]


def test_images_beside_subfolders_are_enough(tmp_path):
    filled(tmp_path / "old", "t1.nii")
    filled(tmp_path, "flair.nii")
    assert [path.name for path in find_images([tmp_path])] == ["flair.nii"]


def test_a_file_given_twice_is_one_image(tmp_path):
    filled(tmp_path, "t1.nii", "t2.nii")
    other_way = tmp_path / ".." / tmp_path.name / "t1.nii"
    assert [path.name for path in find_images([tmp_path / "t2.nii", tmp_path, other_way])] == ["t2.nii", "t1.nii"]


def test_several_patients_are_not_one_study(tmp_path):
    filled(tmp_path / "a", "t1.nii")
    filled(tmp_path / "b", "t1.nii")
    with pytest.raises(MissingFile, match=r"2 folders.*one patient"):
        find_images([tmp_path])


def test_an_empty_folder_and_a_missing_path_are_refused(tmp_path):
    with pytest.raises(MissingFile, match="holds no image"):
        find_images([tmp_path])
    with pytest.raises(MissingFile, match="nowhere"):
        find_images([tmp_path / "nowhere"])


def test_a_file_of_another_kind_given_by_hand_is_refused(tmp_path):
    filled(tmp_path, "t1.txt")
    with pytest.raises(NotAnImage, match=r"t1\.txt"):
        find_images([tmp_path / "t1.txt"])


def test_every_real_case_is_recognised(data_folder):
    for case in sorted((data_folder / "cases").iterdir()):
        assert list(recognise_roles(find_images([case]))) == ["t1", "t1ce", "t2", "flair"]
