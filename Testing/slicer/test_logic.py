"""What scripts call without a panel: comparing a result with what a person drew."""

import numpy as np
import pytest
from fakes import FakeProcess
from made_up import Steps, make_labels, make_report, make_volume
from test_run import FakeEngine


@pytest.fixture
def logic(host):
    from BrainTumorSegLib.logic import Logic

    logic = Logic(FakeEngine(), make_process=FakeProcess, later=Steps())
    yield logic
    logic.close()


def ours(reference):
    from BrainTumorSegLib import mrml_segmentation as seg
    from BrainTumorSegLib.mrml_volumes import placed

    with placed(reference) as (_, placement):
        return seg.make_segmentation(make_labels(), placement, make_report(make_labels(), 0.001), reference, "Result")


def drawn(reference, name="Manual", **masks):
    """A person's segmentation: segment name -> (K, J, I) mask."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    for segment, mask in masks.items():
        segment_id = node.GetSegmentation().AddEmptySegment(segment, segment)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment_id, reference)
    return node


def rows_of(table):
    return {table.GetCellText(row, 0): [table.GetCellText(row, column) for column in range(1, table.GetNumberOfColumns())]
            for row in range(table.GetNumberOfRows())}


def test_segmentations_without_a_common_segment_are_not_compared_and_it_says_what_to_do(logic):
    reference = make_volume()
    with pytest.raises(ValueError, match=r"nothing to compare.*Necrosis, Edema, Enhancing Lesion"):
        logic.compare(ours(reference), drawn(reference, Tumor=make_labels() > 0))
    with pytest.raises(ValueError, match=r"A and B have no segment in common.*alike in both"):
        logic.compare(drawn(reference, "A", Tumor=make_labels() > 0), drawn(reference, "B", Lesion=make_labels() > 0))


def test_rows_of_a_segment_that_one_lacks_say_so(logic):
    reference = make_volume()
    rows = rows_of(logic.compare(ours(reference), drawn(reference, Edema=make_labels() == 2)))
    assert rows["Edema (ED)"] == ["0.06", "0.06", "0", "1", ""]
    assert rows["Necrosis (NCR)"][3:] == ["0", "Manual has no segment Necrosis"]
    assert rows["Tumour core (TC)"][4] == "Manual has no segment Necrosis, Enhancing Lesion"


def test_two_that_are_not_ours_are_compared_by_name_without_our_regions(logic):
    reference = make_volume()
    table = logic.compare(*(drawn(reference, name, Tumor=make_labels() > 0) for name in "AB"))
    assert rows_of(table) == {"Tumor": ["0.06", "0.06", "0", "1"]}
    edges = {"Segment": make_labels() == 1, "Segment_1": make_labels() == 2}
    table = logic.compare(drawn(reference, "A", **edges), drawn(reference, "B", **edges, Segment_2=make_labels() == 3))
    assert {name: row[3] for name, row in rows_of(table).items()} == {"Segment": "1", "Segment_1": "1"}


def test_a_table_that_was_deleted_is_not_written_into_again(logic):
    import slicer

    reference = make_volume()
    pair = ours(reference), drawn(reference, Edema=make_labels() == 2)
    first = logic.compare(*pair)
    assert logic.compare(*pair, first) is first
    slicer.mrmlScene.RemoveNode(first)
    second = logic.compare(*pair, first)
    assert second is not first
    assert slicer.mrmlScene.IsNodePresent(second)


def test_a_second_look_at_the_files_ends_the_first(logic, monkeypatch, tmp_path):
    from BrainTumorSegLib import dicom

    monkeypatch.setattr(dicom, "files_of", lambda node: [tmp_path / "1.dcm"])
    monkeypatch.setattr(dicom, "series_uid_of", lambda node: "1.2.3")
    answers = []
    looks = []
    for _ in range(2):
        assert logic.recognise_by_engine([make_volume()], answers.append)
        looks.append(FakeProcess.last)
    assert [look.calls for look in looks] == [["start", "close_stdin"], ["start"]]
    for look in looks:
        look.say(b'{"series": [], "roles": {"t1": "1.2.3"}}\n')
        look.end(0, "")
    assert len(answers) == 1


def test_a_script_may_call_the_sequences_by_their_usual_names(logic):
    a, b = make_volume(name="A"), make_volume(name="B")
    run = logic.segment({"T1CE": a, "flair": b, "t2": None})
    assert run._nodes == {"t1ce": a, "flair": b}
    assert logic.segment({"t1gd": a})._nodes == {"t1ce": a}


@pytest.mark.parametrize(("chosen", "words"), [
    ({"adc": 1}, "'adc' names no sequence"),
    ({"t1": "T1 of the head"}, r"t1 is not a volume node \(str\).*getNode"),
    ({"t1c": "", "T1CE": ""}, "t1ce is not a volume node"),
])
def test_what_is_no_sequence_and_no_volume_is_refused_at_once(logic, chosen, words):
    with pytest.raises(ValueError, match=words):
        logic.segment(chosen)
    assert logic.runs == []


def test_one_sequence_under_two_names_is_refused(logic):
    with pytest.raises(ValueError, match="t1ce is given twice"):
        logic.segment({"t1c": make_volume(), "T1CE": make_volume()})


def test_a_device_that_does_not_exist_is_refused_with_those_that_do(logic):
    from BrainTumorSegLib.run import Options

    with pytest.raises(ValueError, match="no device 'gpu': use 'auto', 'cpu', 'cuda'"):
        Options(device="gpu")
    assert [Options(device=name).device for name in ("auto", "cpu", "cuda", "cuda:12")] == ["auto", "cpu", "cuda", "cuda:12"]


def test_a_person_s_segments_are_matched_by_the_meaning_of_the_code_where_the_model_has_another_name_for_it(logic):
    from BrainTumorSegLib import mrml_segmentation as seg
    from BrainTumorSegLib.mrml_volumes import placed

    reference, report = make_volume(), make_report(make_labels(), 0.001)
    labels = [{**label, "name": "Necrosis or Non-Enhancing Core"} if label["value"] == 1 else label for label in report["model"]["labels"]]
    with placed(reference) as (_, placement):
        ours_now = seg.make_segmentation(make_labels(), placement, {**report, "model": {**report["model"], "labels": labels}}, reference, "Result")
    rows = rows_of(logic.compare(ours_now, drawn(reference, Necrosis=make_labels() == 1, **{"Enhancing Lesion": make_labels() == 3})))
    assert rows["Necrosis or Non-Enhancing Core (NCR)"][3] == "1"
    assert rows["Tumour core (TC)"][3] == "1"
