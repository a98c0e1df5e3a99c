"""Numbers counted by hand, and the tables that hold them. The engine's own Dice is the oracle of ours."""

import csv
import io

import numpy as np
import pytest
from made_up import LABELS, make_labels, make_report, make_volume


@pytest.fixture
def measure(host):
    from BrainTumorSegLib import measurements

    return measurements


def test_volumes_are_counts_times_the_voxel(measure):
    rows = {row.key: row for row in measure.volume_rows(make_labels(), 0.5, LABELS) if row.kind == "region"}
    assert {key: row.ml for key, row in rows.items()} == {"WT": (30.0,), "TC": (1.5,), "ET": (0.5,)}
    rows = {row.key: row.ml[0] for row in measure.volume_rows(make_labels(), 0.5, LABELS) if row.kind == "label"}
    assert rows == {"NCR": 1.0, "ED": 28.5, "ET": 0.5}


def test_the_engines_report_gives_the_same_rows(measure):
    assert measure.reported_rows(make_report(make_labels(), 0.5)) == measure.volume_rows(make_labels(), 0.5, LABELS)


def test_a_comparison_agrees_with_the_engines_dice(measure):
    from braintumorseg.labels import REGIONS, region_mask
    from braintumorseg.metrics import dice

    first, second = make_labels(), np.roll(make_labels(), 1, axis=2)
    rows = {row.key: row for row in measure.comparison_rows(first, second, 0.5, LABELS) if row.kind == "region"}
    for region in REGIONS:
        assert rows[region].dice == pytest.approx(dice(region_mask(first, region), region_mask(second, region)), abs=1e-4)
    assert rows["WT"].ml == (30.0, 30.0)


def test_two_empty_ones_agree(measure):
    empty = np.zeros((3, 3, 3), np.uint8)
    assert {row.dice for row in measure.comparison_rows(empty, empty, 1.0, LABELS)} == {1.0}


def test_the_table_can_be_copied_and_saved(measure):
    import slicer

    from BrainTumorSegLib import mrml_tables

    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Tumour, first")
    table = mrml_tables.volume_table(segmentation, measure.volume_rows(make_labels(), 0.5, LABELS))
    assert mrml_tables.table_of(segmentation) is table
    assert mrml_tables.table_as_text(table).split("\n")[:2] == ["Structure\tKind\tVolume (ml)", "Whole tumour (WT)\tregion\t30"]
    rows = list(csv.reader(io.StringIO(mrml_tables.table_as_text(table, ","))))
    assert len(rows) == 7
    assert rows[3] == ["Enhancing tumour (ET)", "region", "0.5"]
    again = mrml_tables.volume_table(segmentation, measure.volume_rows(make_labels(), 1.0, LABELS))
    assert again is table
    assert table.GetCellText(0, 2) == "60"
    assert len(slicer.util.getNodesByClass("vtkMRMLTableNode")) == 1


@pytest.mark.parametrize("told", [{"estimated_without_t1ce": ["TC", "ET", "NCR"]}, {"missing": ["t1ce"]}], ids=["now", "earlier version"])
def test_volumes_that_were_estimated_without_contrast_say_so_in_the_table_and_in_a_comparison(measure, told):
    import slicer

    from BrainTumorSegLib import mrml_tables
    from BrainTumorSegLib.logic import Logic
    from BrainTumorSegLib.mrml_segmentation import make_segmentation
    from BrainTumorSegLib.mrml_volumes import placed

    guess = "estimated without T1ce"
    reference = make_volume()
    with placed(reference) as (_, placement):
        seen = make_segmentation(make_labels(), placement, make_report(make_labels(), 1.0), reference, "Seen")
        guessed = make_segmentation(make_labels(), placement, {**make_report(make_labels(), 1.0), **told}, reference, "Guessed")
    for table in (Logic(object()).recompute(guessed), mrml_tables.volume_table(guessed, measure.reported_rows(make_report(make_labels(), 1.0)))):
        rows = list(csv.reader(io.StringIO(mrml_tables.table_as_text(table, ","))))
        assert {row[0]: row[-1] for row in rows} == {
            "Structure": "Remark", "Whole tumour (WT)": "", "Tumour core (TC)": guess, "Enhancing tumour (ET)": guess, "Necrosis (NCR)": guess,
            "Edema (ED)": "", "Enhancing Lesion (ET)": guess}
    assert "Remark" not in mrml_tables.table_as_text(Logic(object()).recompute(seen))
    rows = list(csv.reader(io.StringIO(mrml_tables.table_as_text(Logic(object()).compare(seen, guessed), ","))))
    assert {row[0]: row[-1] for row in rows[:4]} == {"Structure": "Remark", "Whole tumour (WT)": "", "Tumour core (TC)": f"Guessed: {guess}",
                                                     "Enhancing tumour (ET)": f"Guessed: {guess}"}
    drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
    rows = measure.comparison_rows(make_labels(), make_labels(), 1.0, LABELS)
    table = mrml_tables.comparison_table(guessed, drawn, rows, remarks=["", "odd", *[""] * 4])
    rows = list(csv.reader(io.StringIO(mrml_tables.table_as_text(table, ","))))
    assert rows[2][-1] == f"odd; Guessed: {guess}"


def test_a_name_with_a_comma_or_a_quote_stays_one_cell(measure):
    import slicer

    from BrainTumorSegLib import mrml_tables

    first, second = (slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name) for name in ('A, "old"', 'B'))
    table = mrml_tables.comparison_table(first, second, measure.comparison_rows(make_labels(), make_labels(), 0.5, LABELS))
    rows = list(csv.reader(io.StringIO(mrml_tables.table_as_text(table, ","))))
    assert rows[0] == ["Structure", 'A, "old" (ml)', "B (ml)", "Difference (ml)", "Dice"]
    assert rows[1] == ["Whole tumour (WT)", "30", "30", "0", "1"]


def test_labels_of_a_volume_under_a_scaling_transform_measure_what_is_seen(measure):
    from made_up import affine_of, make_transform

    from BrainTumorSegLib.logic import Logic
    from BrainTumorSegLib.mrml_segmentation import make_segmentation
    from BrainTumorSegLib.mrml_volumes import placed

    reference = make_volume()
    reference.SetAndObserveTransformNodeID(make_transform(affine_of((2, 2, 2))).GetID())
    with placed(reference) as (_, placement):
        node = make_segmentation(make_labels(), placement, make_report(make_labels(), 0.008), reference)
    table = Logic(object()).recompute(node)
    assert float(table.GetCellText(0, 2)) == pytest.approx(60 * 0.008)


def test_a_table_shows_tenths_of_an_ml_and_hundredths_below_one(measure):
    assert [measure.rounded_ml(ml) for ml in (20.121, 1.04, 0.996, 0.123, 0.0, -0.123, -3.26)] == [20.1, 1.0, 1.0, 0.12, 0.0, -0.12, -3.3]


def test_the_engines_diameters_are_a_remark_on_the_enhancing_tumour(measure):
    axes = {"long": 24.1, "short": 16.0}
    told = {"enhancing_mm": axes, "enhancing_lesions_mm": [axes, {"long": 12.0, "short": 11.0}], "sum_of_products_mm2": 518}
    assert measure.enhancing_words(told) == "RANO: 2 measurable lesions; the largest 24.1 x 16 mm, sum of products 518 mm2"
    assert measure.enhancing_words({**told, "enhancing_lesions_mm": [axes]}) == "RANO: 1 measurable lesion; the largest 24.1 x 16 mm"
    assert measure.enhancing_words({**told, "enhancing_lesions_mm": []}) == "RANO: no measurable lesion; the largest 24.1 x 16 mm"
    assert measure.enhancing_words({"enhancing_mm": axes}) == "RANO: the largest lesion 24.1 x 16 mm"
    assert measure.enhancing_words({"enhancing_mm": None, "enhancing_lesions_mm": []}) == ""
    rows = measure.reported_rows({**make_report(make_labels(), 1.0), **told})
    assert {row.key for row in rows if row.remark} == {"ET"}
    assert [row.remark for row in rows if row.kind == "label"] == [""] * 3
