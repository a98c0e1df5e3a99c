"""Which volumes may be of one examination."""

import pytest
from made_up import make_volume


@pytest.mark.parametrize(("name", "words"), [
    ("Smith_t1ce", {"smith"}), ("T1_Smith", {"smith"}), ("SmithT1ce", {"smith"}), ("Smith_t1_n4", {"smith"}), ("sub-01_ce-gd_T1w", {"01"}),
    ("Smith_20200101_AX_T1_POST_5", {"smith", "20200101"}), ("Case_1_t1", {"case", "1"}), ("A_flair", {"a"}), ("MRHead", {"mrhead"}),
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


def test_a_study_counts_before_names_and_sets_apart_what_has_none(host):
    assert sets({"study": "1"}, {"study": "1", **words("smith")}, {"study": "2"}, {}) == [[0, 1], [2], [3]]


def test_the_folder_is_that_of_the_patient(host):
    import slicer

    from BrainTumorSegLib.belonging import origin_of

    folders = []
    for file in ("/data/p1/T1/T1.nii.gz", "/data/p1/FLAIR/FLAIR.nii.gz", "/data/p2/T1/T1.nii.gz"):
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
    assert first.study == second.study != ""
    assert origin_of(outside, "1.2.3").study == "1.2.3"
