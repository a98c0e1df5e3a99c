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
    assert rows["Edema (ED)"] == ["0.057", "0.057", "0", "1", ""]
    assert rows["Necrosis (NCR)"][3:] == ["0", "Manual has no segment Necrosis"]
    assert rows["Tumour core (TC)"][4] == "Manual has no segment Necrosis, Enhancing Lesion"


def test_two_that_are_not_ours_are_compared_by_name_without_our_regions(logic):
    reference = make_volume()
    table = logic.compare(*(drawn(reference, name, Tumor=make_labels() > 0) for name in "AB"))
    assert rows_of(table) == {"Tumor": ["0.06", "0.06", "0", "1"]}


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
