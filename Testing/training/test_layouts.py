import json

import pytest

from braintumorseg.errors import InputError, MissingFile
from braintumorseg.study import ROLES
from braintumorseg_training.layouts import LAYOUTS, find_cases
from braintumorseg_training.verbs_data import LAYOUT_NAMES
from toy_datasets import BRATS2021, BRATS2023, MSD_JSON, NNUNET_JSON


def touch(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def of(name, ends):
    return [name + end for end in ends.values()]


def files(source):
    return {role: (path.name, channel) for role, (path, channel) in source.images.items()}


def test_brats_2021_is_read_by_its_names(tmp_path):
    touch(tmp_path / "BraTS2021_00000", of("BraTS2021_00000", BRATS2021))
    layout, (case,) = find_cases(tmp_path)
    assert layout == "brats"
    assert files(case) == {role: (f"BraTS2021_00000_{role}.nii.gz", None) for role in ROLES}
    assert case.seg.name == "BraTS2021_00000_seg.nii.gz"
    assert case.table is None


def test_brats_2017_to_2019_lie_below_their_grades(tmp_path):
    for grade, name in (("HGG", "Brats18_2013_10_1"), ("LGG", "Brats18_TCIA10_639_1")):
        touch(tmp_path / "MICCAI" / grade / name, of(name, BRATS2021))
    assert [case.name for case in find_cases(tmp_path)[1]] == ["Brats18_2013_10_1", "Brats18_TCIA10_639_1"]


def test_brats_2020_has_one_case_with_misnamed_labels(tmp_path):
    names = [f"BraTS20_Training_355_{role}.nii" for role in ROLES]
    touch(tmp_path / "BraTS20_Training_355", [*names, "W39_1998.09.19_Segm.nii"])
    _, (case,) = find_cases(tmp_path)
    assert case.seg.name == "W39_1998.09.19_Segm.nii"
    assert "W39_1998.09.19_Segm.nii" in case.notes[0]


def test_what_does_not_begin_with_the_cases_name_is_neither_a_sequence_nor_its_labels(tmp_path):
    case = "BraTS2021_00000"
    strangers = ["pseg.nii.gz", "rt2.nii.gz", "wt1.nii", "mflair.nii.gz", "BraTS2021_00001_t2.nii.gz", f"{case}xt2.nii.gz", f"w{case}_t2.nii.gz"]
    touch(tmp_path / case, [f"{case}_t1.nii.gz", f"{case}-t1ce.nii.gz", *strangers])
    _, (found,) = find_cases(tmp_path)
    assert files(found) == {"t1": (f"{case}_t1.nii.gz", None), "t1ce": (f"{case}-t1ce.nii.gz", None)}
    assert (found.seg, found.problem, found.notes) == (None, "", ())


def test_brats_2023_and_2024_have_names_of_their_own(tmp_path):
    touch(tmp_path / "BraTS-GLI-02060-100", of("BraTS-GLI-02060-100", BRATS2023))
    _, (case,) = find_cases(tmp_path)
    assert files(case)["flair"] == ("BraTS-GLI-02060-100-t2f.nii.gz", None)
    assert files(case)["t1ce"] == ("BraTS-GLI-02060-100-t1c.nii.gz", None)


def test_the_decathlons_order_and_labels_come_from_its_dataset_json(tmp_path):
    touch(tmp_path / "imagesTr", ["BRATS_001.nii.gz", "._BRATS_001.nii.gz"])
    touch(tmp_path / "labelsTr", ["BRATS_001.nii.gz"])
    pairs = [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}]
    (tmp_path / "dataset.json").write_text(json.dumps({**MSD_JSON, "training": pairs}))
    layout, (case,) = find_cases(tmp_path)
    assert layout == "msd"
    assert {role: channel for role, (_, channel) in case.images.items()} == {"flair": 0, "t1": 1, "t1ce": 2, "t2": 3}
    assert case.table == {0: 0, 1: 2, 2: 1, 3: 3}
    assert case.cohort == "MSD Task01"


def test_nnunets_channels_and_nested_regions_come_from_its_dataset_json(tmp_path):
    touch(tmp_path / "imagesTr", [f"p1_000{channel}.nii.gz" for channel in range(4)] + ["._p1_0000.nii.gz"])
    touch(tmp_path / "labelsTr", ["p1.nii.gz"])
    (tmp_path / "dataset.json").write_text(json.dumps(NNUNET_JSON))
    layout, (case,) = find_cases(tmp_path)
    assert layout == "nnunet"
    assert files(case) == {role: (f"p1_000{channel}.nii.gz", None) for channel, role in enumerate(ROLES)}
    assert case.table == {0: 0, 1: 2, 2: 1, 3: 3}


def test_nnunets_first_version_which_lists_its_cases_like_the_decathlon_is_not_taken_for_that(tmp_path):
    names = ("p1", "p2")
    touch(tmp_path / "imagesTr", [f"{name}_000{channel}.nii.gz" for name in names for channel in range(4)])
    touch(tmp_path / "labelsTr", [f"{name}.nii.gz" for name in names])
    pairs = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names]
    (tmp_path / "dataset.json").write_text(json.dumps({**MSD_JSON, "training": pairs}))
    for asked in (None, "nnunet"):
        layout, cases = find_cases(tmp_path, asked)
        assert (layout, [case.name for case in cases]) == ("nnunet", ["p1", "p2"])
        assert files(cases[0])["t1ce"] == ("p1_0002.nii.gz", None)
        assert cases[0].table == {0: 0, 1: 2, 2: 1, 3: 3}
    for file in (tmp_path / "imagesTr").iterdir():
        file.unlink()
    layout, cases = find_cases(tmp_path)        # the Decathlon's without their images: cases, to be refused by name
    assert (layout, [(case.name, dict(case.images)) for case in cases]) == ("msd", [("p1", {}), ("p2", {})])


def test_nnunets_files_in_two_formats_are_said_and_none_is_chosen(tmp_path):
    for name in ("image", "labels", "good"):
        touch(tmp_path / "imagesTr", [f"{name}_000{channel}.nii.gz" for channel in range(4)])
        touch(tmp_path / "labelsTr", [f"{name}.nii.gz"])
    touch(tmp_path / "imagesTr", ["image_0001.nii", "image_0007.nii", "image_0007.nii.gz"])
    touch(tmp_path / "labelsTr", ["labels.nii"])
    (tmp_path / "dataset.json").write_text(json.dumps(NNUNET_JSON))
    assert {case.name: case.problem for case in find_cases(tmp_path)[1]} == {
        "good": "", "image": "image_0001.nii and image_0001.nii.gz may both be t1ce", "labels": "labels.nii and labels.nii.gz may both be seg"}


def test_nnunets_labels_without_images_are_a_case_to_be_refused_by_name(tmp_path):
    touch(tmp_path / "imagesTr", [f"p1_000{channel}.nii.gz" for channel in range(4)])
    touch(tmp_path / "labelsTr", ["p1.nii.gz", "p9.nii.gz", "._p8.nii.gz"])
    (tmp_path / "dataset.json").write_text(json.dumps(NNUNET_JSON))
    _, (whole, bare) = find_cases(tmp_path)
    assert (whole.name, len(whole.images)) == ("p1", 4)
    assert (bare.name, dict(bare.images), bare.seg.name) == ("p9", {}, "p9.nii.gz")


def test_plain_folders_take_any_suffix_and_both_spellings_but_no_role_twice(tmp_path):
    touch(tmp_path / "one", ["t1n.nii", "t1c.nrrd", "t2w.mha", "flair.nii.gz", "seg.nii.gz"])
    touch(tmp_path / "two", ["t1.nii.gz", "t1n.nii.gz", "seg.nii.gz"])
    layout, (one, two) = find_cases(tmp_path)
    assert layout == "plain"
    assert set(one.images) == set(ROLES)
    assert two.problem == "t1.nii.gz and t1n.nii.gz may both be t1"


def test_folders_that_no_layout_knows_are_cases_with_a_problem_and_are_not_passed_over(tmp_path):
    touch(tmp_path / "good", ["t1.nii.gz"])
    touch(tmp_path / "scan", ["series5.nii.gz"])
    touch(tmp_path / "none", ["notes.txt"])
    _, cases = find_cases(tmp_path)
    assert {case.name: case.problem for case in cases} == {
        "good": "", "none": "its folder holds no image file that may be read", "scan": "none of its files has a name that a layout knows"}


def test_a_linked_folder_is_a_case_too(tmp_path):
    real = touch(tmp_path / "elsewhere" / "a", ["t1.nii.gz"])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(real, target_is_directory=True)
    assert [case.name for case in find_cases(tmp_path / "data")[1]] == ["linked"]


def test_two_layouts_in_one_folder_are_told_apart_only_by_the_user(tmp_path):
    touch(tmp_path / "p1", ["t1.nii.gz"])
    touch(tmp_path / "BraTS2021_00000", of("BraTS2021_00000", BRATS2021))
    with pytest.raises(InputError, match=r"brats \(1\), plain \(1\).*--layout"):
        find_cases(tmp_path)
    assert [case.name for case in find_cases(tmp_path, "plain")[1]] == ["p1"]


@pytest.mark.parametrize("layout", [None, "msd"])
def test_a_folder_without_cases_is_refused(tmp_path, layout):
    with pytest.raises(MissingFile, match="no cases"):
        find_cases(tmp_path, layout)
    with pytest.raises(MissingFile, match="no folder"):
        find_cases(tmp_path / "nowhere", layout)


def test_one_name_for_two_cases_is_refused(tmp_path):
    for grade in ("HGG", "LGG"):
        touch(tmp_path / grade / "p1", ["t1.nii.gz"])
    with pytest.raises(InputError, match="two cases called p1"):
        find_cases(tmp_path)


def test_one_cases_own_folder_is_read_in_both_spellings(tmp_path):
    for folder, roles in ((touch(tmp_path / "p1", ["t1.nii.gz", "seg.nii.gz"]), {"t1"}), (touch(tmp_path / "p2", of("p2", BRATS2023)), set(ROLES))):
        (case,) = find_cases(folder)[1]
        assert (case.name, set(case.images)) == (folder.name, roles)


def test_the_command_line_offers_the_layouts_there_are():
    assert [name for name, _ in LAYOUTS] == list(LAYOUT_NAMES)
