"""Which volumes may be of one examination."""

import pytest
from made_up import make_volume


@pytest.mark.parametrize(("name", "words"), [
    ("Smith_t1ce", {"smith"}), ("T1_Smith", {"smith"}), ("SmithT1ce", {"smith"}), ("Smith_t1_n4", {"smith"}), ("sub-01_ce-gd_T1w", {"01"}),
    ("Smith_20200101_AX_T1_POST_5", {"smith", "20200101"}), ("Case_1_t1", {"case", "1"}), ("A_flair", {"a"}), ("MRHead", {"mrhead"}),
    ("BraTS-GLI-00000-000-t1n", {"bra", "ts", "gli", "00000"}), ("301_T1", set()), ("DICOM_FLAIR_20240105103000_1001", {"20240105103000"}),
    ("Smith_T1_0.9 mm", {"smith"}), ("T1_before_injection", set()),
    ("3: AX T1", set()), ("7: SAG T1 MPRAGE +C", set()), ("AxT1FSE+C_p2", set()), ("t2_tirm_tra_dark-fluid", set()), ("t1_1", set()), ("", set()),
])
def test_of_a_name_count_the_words_that_tell_neither_sequence_nor_work(host, name, words):
    from BrainTumorSegLib.belonging import name_words

    assert name_words(name) == words


def sets(*origins):
    from BrainTumorSegLib.belonging import Origin, sets_of

    found = sets_of([Origin(**origin) for origin in origins])
    return sorted(sorted(one) for one in found)


def words(*names):
    return {"words": frozenset(names)}


def test_names_without_a_common_word_are_of_two_examinations(host):
    assert sets(words("smith"), words("jones"), words("smith"), words("jones")) == [[0, 2], [1, 3]]
    assert sets(words("case", "1"), words("case", "2")) == [[0], [1]]
    assert sets(words("smith"), words("smith", "visit2")) == [[0, 1]]
    assert sets() == []


def test_a_name_that_tells_nothing_joins_no_two_people(host):
    assert sets(words("smith"), words(), words("jones")) == [[0, 1], [1, 2]]


def test_of_names_that_tell_nothing_the_folder_decides(host):
    assert sets({"folder": ("a",)}, {"folder": ("b",)}, {"folder": ("a",)}) == [[0, 2], [1]]
    assert sets({"folder": ("a",)}, {}) == [[0, 1]]


def in_folder(*names, folder="a"):
    from dataclasses import asdict

    from BrainTumorSegLib.belonging import origin_of_name

    return [{**asdict(origin_of_name(name)), "folder": (folder,)} for name in names]


def test_words_that_nobody_knows_set_no_files_of_one_folder_apart_while_each_sequence_is_there_once(host):
    study = in_folder("T1_foo", "T1_gd_bar", "T2_baz", "FLAIR_qux")
    assert sets(*study) == [[0, 1, 2, 3]]
    assert sets(*study, *in_folder("T2_other")) == [[0], [1], [2], [3], [4]]
    assert sets(*study, *in_folder("T2_other", folder="b")) == [[0, 1, 2, 3], [4]]


def test_names_that_begin_with_different_identifiers_are_apart_in_one_folder_too(host):
    assert sets(*in_folder("Smith_t1", "Jones_t2")) == [[0], [1]]
    assert sets(*in_folder("sub-01_T1w", "sub-02_T2w")) == [[0], [1]]
    assert sets(*in_folder("301_T1_foo", "401_T2_bar")) == [[0, 1]]


def test_a_number_that_stands_with_several_sequences_is_a_persons_and_one_that_counts_series_is_not(host):
    assert sets(*in_folder("01_T1", "01_T2", "02_T1", "02_FLAIR")) == [[0, 1], [2, 3]]
    assert sets(*in_folder("3_T1", "4_T2", "4_T2", "5_FLAIR")) == [[0, 1, 2, 3]]


def test_a_study_counts_before_names_and_sets_apart_what_has_none(host):
    first, second = ({"studies": frozenset({study})} for study in "12")
    assert sets(first, {**first, **words("smith")}, second, {}) == [[0, 1], [2], [3]]


def test_a_cropped_copy_of_a_dicom_volume_is_of_its_study_though_it_lies_outside_it_in_the_hierarchy():
    there, cropped, other = ({"studies": frozenset(one)} for one in ({"item 9", "1.2.3"}, {"1.2.3"}, {"item 12", "1.2.4"}))
    assert sets(there, cropped, there, other) == [[0, 1, 2], [3]]


def test_the_folder_is_that_of_the_patient(host):
    import slicer

    from BrainTumorSegLib.belonging import origin_of

    folders = []
    for file in ("/data/01/301_T1/T1.nii.gz", "/data/01/FLAIR/FLAIR.nii.gz", "/data/02/301_T1/T1.nii.gz"):
        node = make_volume(name="T1")
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(file)
        node.SetAndObserveStorageNodeID(storage.GetID())
        folders.append(origin_of(node).folder)
    assert folders[0] == folders[1] != folders[2]
    assert origin_of(make_volume()).folder == ()


def test_a_study_of_the_subject_hierarchy_holds_volumes_together(host):
    import slicer

    from BrainTumorSegLib.belonging import origin_of

    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode() or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSubjectHierarchyNode")
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "P")
    study = hierarchy.CreateStudyItem(patient, "S")
    inside, outside = [make_volume(name="a_t1"), make_volume(name="b_t2")], make_volume(name="a_t2")
    for node in inside:
        hierarchy.CreateItem(study, node)
    first, second = map(origin_of, inside)
    assert first.studies == second.studies != frozenset()
    assert origin_of(outside, "1.2.3").studies == {"1.2.3"}
